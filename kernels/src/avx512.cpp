// Kernels for AVX-512 with VNNI: one instruction multiplies 64 bytes and sums them in 32 bits.
//
// A panel holds 64 rows of 256 weights as vectors of 16 rows by 4 consecutive weights; a broadcast
// of 4 activations multiplies all of them. Sums of a sub-block become floats with its scale.
#include "avx512.h"

#include "floats.h"
#include "panels.h"
#include "vector16.h"

namespace {

constexpr int kLanes = 16;                     // rows of a vector
constexpr int kVectors = kPanelRows / kLanes;  // vectors of a panel

struct alignas(64) SuperPanel {
    uint8_t q[kVectors][kGroups][4 * kLanes];
    int32_t scale[16][kPanelRows];  // per sub-block, twice in 16 bits; a float once it is filled
    int32_t offset[8][kPanelRows];  // of two sub-blocks, in 16 bits each
    float d[kPanelRows], e[kPanelRows];
};

struct alignas(64) BlockPanel {
    uint8_t q[kVectors][kGroups][4 * kLanes];
    float scale[8][kPanelRows], offset[8][kPanelRows];
};

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

inline __m512i four(const int8_t* q) {
    int32_t x;
    std::memcpy(&x, q, 4);
    return _mm512_set1_epi32(x);
}

// K-quants: one scale for 256 activations.
template <class Format>
struct SuperTiles {
    using Panel = SuperPanel;
    static constexpr int kLanes = ::kLanes, kColumns = 6, kMultiple = kBlock;
    static constexpr auto kQuantize = quantize_super;

    static void fill(Panel& panel, const Weights& w, int64_t first_row, int n_rows, int64_t block, int) {
        fill_super<Format, kLanes>(panel, w, first_row, n_rows, block);
        for (int s = 0; s < Format::kSubs; ++s)
            for (int32_t* at = panel.scale[s]; at < panel.scale[s] + kPanelRows; at += 8) {
                const __m256i twice = _mm256_load_si256(reinterpret_cast<const __m256i*>(at));
                const __m256 scale = _mm256_cvtepi32_ps(_mm256_srai_epi32(twice, 16));
                _mm256_store_si256(reinterpret_cast<__m256i*>(at), _mm256_castps_si256(scale));
            }
    }

    template <int C>
    static inline void run(const Panel& panel, int, int v, const uint8_t* x, float* out) {
        constexpr int kPerSub = kGroups / Format::kSubs;
        const SuperColumn* columns = reinterpret_cast<const SuperColumn*>(x);
        const uint8_t *a = panel.q[v][0], *b = panel.q[v + 1][0];
        const int row = v * kLanes;
        __m512 total[2][C];
        for (int c = 0; c < C; ++c) total[0][c] = total[1][c] = _mm512_setzero_ps();
        for (int s = 0; s < Format::kSubs; ++s) {
            __m512i sum[2][C];
            for (int c = 0; c < C; ++c) sum[0][c] = sum[1][c] = _mm512_setzero_si512();
            const int first = s * kPerSub;
#pragma GCC unroll 8
            for (int i = 0; i < kPerSub; ++i) {
                const int g = first + i;
                const __m512i w0 = load(a + 64 * g), w1 = load(b + 64 * g);
#pragma GCC unroll 6
                for (int c = 0; c < C; ++c) {
                    const __m512i y = four(columns[c].q + 4 * g);
                    sum[0][c] = _mm512_dpbusd_epi32(sum[0][c], w0, y);
                    sum[1][c] = _mm512_dpbusd_epi32(sum[1][c], w1, y);
                }
            }
            const __m512 scale0 = _mm512_loadu_ps(&panel.scale[s][row]);
            const __m512 scale1 = _mm512_loadu_ps(&panel.scale[s][row + kLanes]);
            for (int c = 0; c < C; ++c) {
                total[0][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[0][c]), scale0, total[0][c]);
                total[1][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[1][c]), scale1, total[1][c]);
            }
        }
        for (int c = 0; c < C; ++c) {
            const int16_t* sums = Format::kSubs == 16 ? columns[c].sum16 : columns[c].sum32;
            const __m512 d = _mm512_set1_ps(columns[c].d);
            for (int i = 0; i < 2; ++i) {
                const int at = row + i * kLanes;
                __m512i less = _mm512_setzero_si512();
                for (int j = 0; j < Format::kSubs / 2; ++j) {
                    int32_t pair;
                    std::memcpy(&pair, sums + 2 * j, 4);
                    less = _mm512_dpwssd_epi32(less, load(&panel.offset[j][at]), _mm512_set1_epi32(pair));
                }
                float* to = out + c * kPanelRows + at;
                const __m512 d_row = _mm512_loadu_ps(panel.d + at), minus = _mm512_cvtepi32_ps(less);
                __m512 sum;
                if constexpr (Format::kZero)
                    sum = _mm512_mul_ps(_mm512_sub_ps(total[i][c], minus), d_row);
                else
                    sum = _mm512_fnmadd_ps(minus, _mm512_loadu_ps(panel.e + at), _mm512_mul_ps(total[i][c], d_row));
                _mm512_storeu_ps(to, _mm512_fmadd_ps(sum, d, _mm512_loadu_ps(to)));
            }
        }
    }
};

// Blocks of 32: a scale for 32 activations.
template <class Format>
struct BlockTiles {
    using Panel = BlockPanel;
    static constexpr int kLanes = ::kLanes, kColumns = 6, kMultiple = 32;
    static constexpr auto kQuantize = quantize_blocks;

    static void fill(Panel& panel, const Weights& w, int64_t first_row, int n_rows, int64_t block, int n_blocks) {
        fill_blocks<Format, kLanes>(panel, panel.q, w, first_row, n_rows, block, n_blocks);
    }

    template <int C>
    static inline void run(const Panel& panel, int n_blocks, int v, const uint8_t* x, float* out) {
        const BlockColumn* columns = reinterpret_cast<const BlockColumn*>(x);
        const int row = v * kLanes;
        __m512 result[2][C];
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 2; ++i) result[i][c] = _mm512_loadu_ps(out + c * kPanelRows + row + i * kLanes);
        for (int j = 0; j < n_blocks; ++j) {
            __m512i sum[2][C];
            for (int c = 0; c < C; ++c) sum[0][c] = sum[1][c] = _mm512_set1_epi32(-Format::kZero * columns[c].sum[j]);
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                const int g = 8 * j + i;
                const __m512i w0 = load(panel.q[v][g]), w1 = load(panel.q[v + 1][g]);
#pragma GCC unroll 6
                for (int c = 0; c < C; ++c) {
                    const __m512i y = four(columns[c].q + 4 * g);
                    sum[0][c] = _mm512_dpbusd_epi32(sum[0][c], w0, y);
                    sum[1][c] = _mm512_dpbusd_epi32(sum[1][c], w1, y);
                }
            }
            for (int c = 0; c < C; ++c) {
                const __m512 d = _mm512_set1_ps(columns[c].d[j]);
                for (int i = 0; i < 2; ++i) {
                    const int at = row + i * kLanes;
                    const __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(&panel.scale[j][at]), d);
                    result[i][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i][c]), scale, result[i][c]);
                    if constexpr (!Format::kZero) {
                        const __m512 s = _mm512_set1_ps(columns[c].d[j] * static_cast<float>(columns[c].sum[j]));
                        result[i][c] = _mm512_fmadd_ps(_mm512_loadu_ps(&panel.offset[j][at]), s, result[i][c]);
                    }
                }
            }
        }
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 2; ++i) _mm512_storeu_ps(out + c * kPanelRows + row + i * kLanes, result[i][c]);
    }
};

const Kernel kKernels[] = {
    kernel<SuperTiles<Q2K>>(ggml::Q2_K, 4),  kernel<SuperTiles<Q3K>>(ggml::Q3_K, 4),
    kernel<SuperTiles<Q4K>>(ggml::Q4_K, 4),  kernel<SuperTiles<Q5K>>(ggml::Q5_K, 4),
    kernel<SuperTiles<Q6K>>(ggml::Q6_K, 4),  kernel<BlockTiles<Q40>>(ggml::Q4_0, 4),
    kernel<BlockTiles<Q41>>(ggml::Q4_1, 4),  kernel<BlockTiles<Q50>>(ggml::Q5_0, 4),
    kernel<BlockTiles<Q51>>(ggml::Q5_1, 4),  kernel<BlockTiles<Q80>>(ggml::Q8_0, 4),
    kernel<SuperTiles<IQ4XS>>(ggml::IQ4_XS, 4), kernel<BlockTiles<IQ4NL>>(ggml::IQ4_NL, 4),
    kernel<BlockTiles<MXFP4>>(ggml::MXFP4, 4),
    float_kernel<Vector16, F16>(), float_kernel<Vector16, BF16>(),
    {-1, 0, 0, 0, 0, 0, nullptr, nullptr},
};

}  // namespace

const Kernel* cama::kernels_avx512() { return kKernels; }
