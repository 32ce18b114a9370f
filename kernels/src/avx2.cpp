// Kernels for AVX2: products of unsigned weights and signed activations, summed in 16 bits.
//
// A panel holds 64 rows of 256 weights as vectors of 8 rows by 4 consecutive weights, so that a
// broadcast of 4 activations multiplies all of them (maddubs), and sums of several such products
// stay below 2^15. One madd with the rows' scales turns 16 bits into 32 and applies the scale.
#include <immintrin.h>

#include "panels.h"

namespace {

constexpr int kLanes = 8;                      // rows of a vector
constexpr int kVectors = kPanelRows / kLanes;  // vectors of a panel

// How many products of 4 weights fit into 16 bits: each lane gets 2 of them.
constexpr int groups_of(int max) { return 32767 / (2 * max * 127); }
constexpr int down_to_power(int n, int limit) { return n >= limit ? limit : n >= 4 ? 4 : n >= 2 ? 2 : 1; }

struct alignas(64) SuperPanel {
    uint8_t q[kVectors][kGroups][4 * kLanes];
    int32_t scale[16][kPanelRows];   // per sub-block, twice in 16 bits
    int32_t offset[8][kPanelRows];   // of two sub-blocks, in 16 bits each
    float d[kPanelRows], e[kPanelRows];
};

template <int Planes>
struct alignas(64) BlockPanel {
    uint8_t q[Planes * kVectors][kGroups][4 * kLanes];
    float scale[8][kPanelRows], offset[8][kPanelRows];
};

// Adding up in another order would need more registers than there are; compilers do not see that.
inline void in_order(__m256i& a, __m256i& b) { asm("" : "+x"(a), "+x"(b)); }

// K-quants: one scale for 256 activations.
template <class Format>
struct SuperTiles {
    using Panel = SuperPanel;
    static constexpr int kLanes = ::kLanes, kColumns = 2, kMultiple = kBlock;
    static constexpr int kBytes = Format::kBytes, kSteps = Format::kSubs;
    static constexpr auto kQuantize = quantize_super;

    static void fill(Panel& panel, const PanelRows& from, int64_t block, int, Ahead& ahead) {
        fill_super<Format, kLanes>(panel, from, block, ahead);
    }

    template <int C>
    static inline void run(const Panel& panel, int, int v, const uint8_t* x, float* out, Ahead& ahead) {
        constexpr int kPerSub = kGroups / Format::kSubs;
        constexpr int kPerSum = down_to_power(groups_of(Format::kMax), kPerSub);
        const SuperColumn* columns = reinterpret_cast<const SuperColumn*>(x);
        const uint8_t *a = panel.q[v][0], *b = panel.q[v + 1][0];
        const int row = v * kLanes;
        __m256i total[2][C];
        for (int c = 0; c < C; ++c) total[0][c] = total[1][c] = _mm256_setzero_si256();
        for (int s = 0; s < Format::kSubs; ++s) {
            ahead.step();
            const __m256i scale0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(&panel.scale[s][row]));
            const __m256i scale1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(&panel.scale[s][row + kLanes]));
            for (int part = 0; part < kPerSub; part += kPerSum) {
                const int first = s * kPerSub + part;
                __m256i sum[2][C];
#pragma GCC unroll 8
                for (int g = 0; g < kPerSum; ++g) {
                    const __m256i w0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(a + 32 * (first + g)));
                    const __m256i w1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(b + 32 * (first + g)));
#pragma GCC unroll 4
                    for (int c = 0; c < C; ++c) {
                        int32_t four;
                        std::memcpy(&four, columns[c].q + 4 * (first + g), 4);
                        const __m256i y = _mm256_set1_epi32(four);
                        const __m256i p0 = _mm256_maddubs_epi16(w0, y), p1 = _mm256_maddubs_epi16(w1, y);
                        sum[0][c] = g ? _mm256_add_epi16(sum[0][c], p0) : p0;
                        sum[1][c] = g ? _mm256_add_epi16(sum[1][c], p1) : p1;
                        in_order(sum[0][c], sum[1][c]);
                    }
                }
                for (int c = 0; c < C; ++c) {
                    total[0][c] = _mm256_add_epi32(total[0][c], _mm256_madd_epi16(sum[0][c], scale0));
                    total[1][c] = _mm256_add_epi32(total[1][c], _mm256_madd_epi16(sum[1][c], scale1));
                }
            }
        }
        for (int c = 0; c < C; ++c) {
            const int16_t* sums = Format::kSubs == 16 ? columns[c].sum16 : columns[c].sum32;
            const __m256 d = _mm256_set1_ps(columns[c].d);
            for (int i = 0; i < 2; ++i) {
                const int at = row + i * kLanes;
                __m256i less = _mm256_setzero_si256();
                for (int j = 0; j < Format::kSubs / 2; ++j) {
                    int32_t pair;
                    std::memcpy(&pair, sums + 2 * j, 4);
                    const __m256i offset = _mm256_load_si256(reinterpret_cast<const __m256i*>(&panel.offset[j][at]));
                    less = _mm256_add_epi32(less, _mm256_madd_epi16(offset, _mm256_set1_epi32(pair)));
                }
                float* to = out + c * kPanelRows + at;
                const __m256 d_row = _mm256_load_ps(panel.d + at);
                __m256 sum;
                if constexpr (Format::kZero)
                    sum = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(total[i][c], less)), d_row);
                else
                    sum = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(less), _mm256_load_ps(panel.e + at),
                                           _mm256_mul_ps(_mm256_cvtepi32_ps(total[i][c]), d_row));
                _mm256_store_ps(to, _mm256_fmadd_ps(sum, d, _mm256_load_ps(to)));
            }
        }
    }
};

// Blocks of 32: a scale for 32 activations.
template <class Format>
struct BlockTiles {
    static constexpr int kPlanes = Format::kMax > 63 ? 2 : 1;
    using Panel = BlockPanel<kPlanes>;
    static constexpr int kLanes = ::kLanes, kColumns = 2, kMultiple = 32;
    static constexpr int kBytes = 8 * Format::kBytes, kSteps = 8;
    static constexpr auto kQuantize = quantize_blocks;

    static void fill(Panel& panel, const PanelRows& from, int64_t block, int n_blocks, Ahead& ahead) {
        fill_blocks<BlockFiller<Format, kLanes>>(panel, from, block, n_blocks, ahead);
        if constexpr (kPlanes == 2) {
            // 8 bits are too many for sums of 16: the halves of a byte are summed apart
            uint8_t *low = panel.q[0][0], *high = panel.q[kVectors][0];
            for (size_t i = 0; i < sizeof(panel.q) / 2; ++i) {
                high[i] = low[i] >> 4;
                low[i] &= 15;
            }
        }
    }

    template <int C>
    static inline void run(const Panel& panel, int n_blocks, int v, const uint8_t* x, float* out, Ahead& ahead) {
        constexpr int kPerSum = down_to_power(groups_of(kPlanes == 2 ? 15 : Format::kMax), 8);
        const BlockColumn* columns = reinterpret_cast<const BlockColumn*>(x);
        const int row = v * kLanes;
        const __m256i ones = _mm256_set1_epi16(1), sixteens = _mm256_set1_epi16(16);
        __m256 result[2][C];
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 2; ++i) result[i][c] = _mm256_load_ps(out + c * kPanelRows + row + i * kLanes);
        for (int j = 0; j < n_blocks; ++j) {
            ahead.step();
            __m256i total[2][C];
            for (int c = 0; c < C; ++c)
                total[0][c] = total[1][c] = _mm256_set1_epi32(-Format::kZero * columns[c].sum[j]);
            for (int plane = 0; plane < kPlanes; ++plane)
                for (int part = 0; part < 8; part += kPerSum) {
                    const int first = 8 * j + part;
                    __m256i sum[2][C];
#pragma GCC unroll 8
                    for (int g = 0; g < kPerSum; ++g) {
                        const __m256i w0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(panel.q[plane * kVectors + v][first + g]));
                        const __m256i w1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(panel.q[plane * kVectors + v + 1][first + g]));
#pragma GCC unroll 4
                        for (int c = 0; c < C; ++c) {
                            int32_t four;
                            std::memcpy(&four, columns[c].q + 4 * (first + g), 4);
                            const __m256i y = _mm256_set1_epi32(four);
                            const __m256i p0 = _mm256_maddubs_epi16(w0, y), p1 = _mm256_maddubs_epi16(w1, y);
                            sum[0][c] = g ? _mm256_add_epi16(sum[0][c], p0) : p0;
                            sum[1][c] = g ? _mm256_add_epi16(sum[1][c], p1) : p1;
                            in_order(sum[0][c], sum[1][c]);
                        }
                    }
                    for (int c = 0; c < C; ++c)
                        for (int i = 0; i < 2; ++i) {
                            const __m256i wide = _mm256_madd_epi16(sum[i][c], plane ? sixteens : ones);
                            total[i][c] = _mm256_add_epi32(total[i][c], wide);
                        }
                }
            for (int c = 0; c < C; ++c) {
                const __m256 d = _mm256_set1_ps(columns[c].d[j]);
                for (int i = 0; i < 2; ++i) {
                    const int at = row + i * kLanes;
                    const __m256 scale = _mm256_mul_ps(_mm256_load_ps(&panel.scale[j][at]), d);
                    result[i][c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total[i][c]), scale, result[i][c]);
                    if constexpr (!Format::kZero) {
                        const __m256 s = _mm256_set1_ps(columns[c].d[j] * static_cast<float>(columns[c].sum[j]));
                        result[i][c] = _mm256_fmadd_ps(_mm256_load_ps(&panel.offset[j][at]), s, result[i][c]);
                    }
                }
            }
        }
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 2; ++i) _mm256_store_ps(out + c * kPanelRows + row + i * kLanes, result[i][c]);
    }
};

// The numbers of rows from which each is faster than ggml were measured (docs/kernels.md). IQ4_XS,
// F16 and BF16 are left to ggml, which is faster with many.
const Kernel kKernels[] = {
    kernel<SuperTiles<Q2K>>(ggml::Q2_K, 1),  kernel<SuperTiles<Q3K>>(ggml::Q3_K, 1),
    kernel<SuperTiles<Q4K>>(ggml::Q4_K, 1),  kernel<SuperTiles<Q5K>>(ggml::Q5_K, 1),
    kernel<SuperTiles<Q6K>>(ggml::Q6_K, 2),  kernel<BlockTiles<Q40>>(ggml::Q4_0, 1),
    kernel<BlockTiles<Q41>>(ggml::Q4_1, 1),  kernel<BlockTiles<Q50>>(ggml::Q5_0, 1),
    kernel<BlockTiles<Q51>>(ggml::Q5_1, 1),  kernel<BlockTiles<Q80>>(ggml::Q8_0, 24),
    kernel<BlockTiles<IQ4NL>>(ggml::IQ4_NL, 32), kernel<BlockTiles<MXFP4>>(ggml::MXFP4, 1),
    {-1, 0, 0, 0, 0, nullptr, nullptr},
};

}  // namespace

const Kernel* cama::kernels_avx2() { return kKernels; }
