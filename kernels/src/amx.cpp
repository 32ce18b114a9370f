// Kernels for AMX: one instruction multiplies 16 columns of 64 activations with 64 weights of 16 rows.
//
// Panels have the layout of AVX-512's, which is that of AMX's tiles: 16 groups of 4 weights of 16
// rows are a tile. Sums are exact integers and become floats in the order of all other kernels, so
// results equal theirs to the bit.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "float_tiles.h"
#include "panels.h"
#include "tiles.h"

namespace {

constexpr int kLanes = 16;                     // rows of a vector
constexpr int kVectors = kPanelRows / kLanes;  // vectors of a panel

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

// The vector v of a panel, some columns, and where results of the two go.
struct Task {
    int v, n_columns;
    const uint8_t* x;
    float* out;
};

// K-quants. A weight times the scale of its sub-block has up to 16 bits: the low byte is in one
// plane, the high one, signed, in another. Only sums of whole blocks become floats, while the tiles
// sum up what the next task needs.
template <class Format>
class SuperTiles {
public:
    static constexpr int kColumns = 2 * kTile;

    struct alignas(64) Panel {
        uint8_t q[kVectors][kGroups][4 * kLanes];  // low bytes, once scales are in
        uint8_t high[kVectors][kGroups][4 * kLanes];
        int32_t scale[16][kPanelRows];  // per sub-block, twice in 16 bits
        int32_t offset[8][kPanelRows];  // of two sub-blocks, in 16 bits each
        float d[kPanelRows], e[kPanelRows];
        struct Sums {
            int32_t low[kColumns][kLanes], high[kColumns][kLanes];
        } sums[2];
    };

    static void fill(Panel& panel, const Weights& w, int64_t first_row, int n_rows, int64_t block, int) {
        fill_super<Format, kLanes>(panel, w, first_row, n_rows, block);
        constexpr int kPerSub = kGroups / Format::kSubs;
        const __m512i low = _mm512_set1_epi16(0xff), zero = _mm512_set1_epi16(Format::kZero);
        for (int v = 0; v * kLanes < n_rows; ++v)
            for (int g = 0; g < kGroups; ++g) {
                const __m512i scale = load(&panel.scale[g / kPerSub][v * kLanes]), q = load(panel.q[v][g]);
                const __m512i even = _mm512_sub_epi16(_mm512_and_si512(q, low), zero);
                const __m512i odd = _mm512_sub_epi16(_mm512_srli_epi16(q, 8), zero);
                const __m512i a = _mm512_mullo_epi16(even, scale), b = _mm512_mullo_epi16(odd, scale);
                constexpr int kPick = 0xca;  // of the second where the first is set, else of the third
                _mm512_store_si512(panel.q[v][g], _mm512_ternarylogic_epi32(low, a, _mm512_slli_epi16(b, 8), kPick));
                _mm512_store_si512(panel.high[v][g], _mm512_ternarylogic_epi32(low, _mm512_srli_epi16(a, 8), b, kPick));
            }
    }

    static void configure_for(int n_columns) {
        configure(std::min(n_columns, kTile), std::max(n_columns - kTile, 1), 64);
    }

    SuperTiles(Panel& panel, int) : panel_(panel) {}

    void run(const Task& task) {
        const bool is_pair = task.n_columns > kTile;
        const Results results(panel_.sums[turn_], panel_, before_);
        turn_ = 1 - turn_;
        auto& sums = panel_.sums[turn_];
        tile_zero<0>();
        tile_zero<1>();
        tile_zero<2>();
        tile_zero<3>();
        for (int g = 0, c = 0; g < kGroups; g += kTile, c += kColumns / 4) {
            tile_load<6>(panel_.q[task.v][g], 4 * kLanes);
            tile_load<7>(panel_.high[task.v][g], 4 * kLanes);
            tile_load<4>(task.x + 4 * g, kColumnBytes);
            tile_multiply_unsigned<0, 4, 6>();
            tile_multiply<1, 4, 7>();
            if (is_pair) {
                tile_load<5>(task.x + kTile * kColumnBytes + 4 * g, kColumnBytes);
                tile_multiply_unsigned<2, 5, 6>();
                tile_multiply<3, 5, 7>();
            }
            results.finish(c, std::min(c + kColumns / 4, before_.n_columns));
        }
        tile_store<0>(sums.low, 4 * kLanes);
        tile_store<1>(sums.high, 4 * kLanes);
        if (is_pair) {
            tile_store<2>(sums.low[kTile], 4 * kLanes);
            tile_store<3>(sums.high[kTile], 4 * kLanes);
        }
        before_ = task;
    }

    void finish() { Results(panel_.sums[turn_], panel_, before_).finish(0, before_.n_columns); }

private:
    struct Results {
        static constexpr int kMinima = Format::kZero ? 0 : Format::kSubs / 2;
        const typename Panel::Sums& sums;
        const SuperColumn* columns;
        float* out;
        __m512 d, e;
        __m512i minima[kMinima + 1];

        Results(const typename Panel::Sums& sums, const Panel& panel, const Task& task)
            : sums(sums), columns(reinterpret_cast<const SuperColumn*>(task.x)), out(task.out) {
            const int row = task.v * kLanes;
            d = _mm512_load_ps(panel.d + row);
            e = _mm512_load_ps(panel.e + row);
            for (int j = 0; j < kMinima; ++j) minima[j] = load(&panel.offset[j][row]);
        }

        void finish(int first, int end) const {
            for (int c = first; c < end; ++c) {
                const __m512i total = _mm512_add_epi32(load(sums.low[c]), _mm512_slli_epi32(load(sums.high[c]), 8));
                __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(total), d);
                if constexpr (kMinima > 0) {
                    const int16_t* of_column = Format::kSubs == 16 ? columns[c].sum16 : columns[c].sum32;
                    __m512i less = _mm512_setzero_si512();
                    for (int j = 0; j < kMinima; ++j)
                        // compilers would broadcast first, by an instruction of its own
                        asm("vpdpwssd %2%{1to16%}, %1, %0"
                            : "+v"(less)
                            : "v"(minima[j]), "m"(*reinterpret_cast<const int16_t(*)[2]>(of_column + 2 * j)));
                    sum = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(less), e, sum);
                }
                float* to = out + c * kPanelRows;
                _mm512_store_ps(to, _mm512_fmadd_ps(sum, _mm512_set1_ps(columns[c].d), _mm512_load_ps(to)));
            }
        }
    };

    Panel& panel_;
    Task before_{0, 0, nullptr, nullptr};  // nothing
    int turn_ = 0;
};

// Blocks of 32, which are half a tile. A whole tile of columns is computed, even if some are missing:
// there is memory behind the last one.
template <class Format>
class BlockTiles {
public:
    static constexpr int kColumns = kTile;

    struct alignas(64) Panel {
        uint8_t q[kVectors][kGroups][4 * kLanes];  // without their zero, once it is filled
        float scale[8][kPanelRows], offset[8][kPanelRows];
        int32_t sums[8][kTile][kLanes];
    };

    static void fill(Panel& panel, const Weights& w, int64_t first_row, int n_rows, int64_t block, int n_blocks) {
        fill_blocks<Format, kLanes>(panel, panel.q, w, first_row, n_rows, block, n_blocks);
        const __m512i zero = _mm512_set1_epi8(static_cast<char>(Format::kZero));
        if constexpr (Format::kZero)
            for (int v = 0; v * kLanes < n_rows; ++v)
                for (int g = 0; g < 8 * n_blocks; ++g)
                    _mm512_store_si512(panel.q[v][g], _mm512_sub_epi8(load(panel.q[v][g]), zero));
    }

    static void configure_for(int n_columns) { configure(n_columns, n_columns, 32); }

    BlockTiles(Panel& panel, int n_blocks) : panel_(panel), n_blocks_(n_blocks) {}

    void run(const Task& task) {
        __m512 results[kTile];
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) results[c] = _mm512_load_ps(task.out + c * kPanelRows);
        step<0>(task, results);
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) _mm512_store_ps(task.out + c * kPanelRows, results[c]);
    }

    void finish() {}

private:
    static constexpr int kLag = 3;  // blocks between summing up and the use of sums, which takes long to be ready

    template <int J>
    inline void step(const Task& task, __m512 results[kTile]) {
        if constexpr (J < 8)
            if (J < n_blocks_) sum<J % 4, 4 + J % 2, 6 + J % 2>(task, J);
        if constexpr (J >= kLag)
            if (J - kLag < n_blocks_) add(task, J - kLag, results);
        if constexpr (J + 1 < 8 + kLag) step<J + 1>(task, results);
    }

    template <int Sum, int A, int B>
    void sum(const Task& task, int j) {
        tile_zero<Sum>();
        tile_load<B>(panel_.q[task.v][8 * j], 4 * kLanes);
        tile_load<A>(task.x + 32 * j, kColumnBytes);
        tile_multiply<Sum, A, B>();
        tile_store<Sum>(panel_.sums[j], 4 * kLanes);
    }

    inline void add(const Task& task, int j, __m512 results[kTile]) const {
        const BlockColumn* columns = reinterpret_cast<const BlockColumn*>(task.x);
        const __m512 scale = _mm512_load_ps(&panel_.scale[j][task.v * kLanes]);
        const __m512 offset = _mm512_load_ps(&panel_.offset[j][task.v * kLanes]);
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) {
            const __m512 sum = _mm512_cvtepi32_ps(load(panel_.sums[j][c]));
            results[c] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, _mm512_set1_ps(columns[c].d[j])), results[c]);
            if constexpr (!Format::kZero) {
                const __m512 s = _mm512_set1_ps(columns[c].d[j] * static_cast<float>(columns[c].sum[j]));
                results[c] = _mm512_fmadd_ps(offset, s, results[c]);
            }
        }
    }

    Panel& panel_;
    const int n_blocks_;
};

// Few columns leave most of a tile unused: they are multiplied by vectors, as AVX-512 does it.
constexpr int kFewestColumns = 28;

template <class Tiles>
decltype(Kernel::multiply) multiply_few;

template <class Tiles>
void multiply_tiles(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out,
                    void* scratch) {
    if (columns.n < kFewestColumns) return multiply_few<Tiles>(w, first_row, n_rows, columns, out, scratch);
    auto& panel = *static_cast<typename Tiles::Panel*>(scratch);
    const int n_whole = (columns.n + kTile - 1) / kTile * kTile;
    std::memset(out, 0, sizeof(float) * kPanelRows * n_whole);
    const TilesInUse in_use;
    const uint8_t* x = columns.x;
    for (int64_t start = 0, b = 0; start < w.k; start += kBlock, ++b, x += columns.stride) {
        const int n_blocks = static_cast<int>(std::min<int64_t>(8, (w.k - start) / 32));
        Tiles::fill(panel, w, first_row, n_rows, b, n_blocks);
        Tiles tiles(panel, n_blocks);
        for (int c = 0; c < columns.n; c += Tiles::kColumns) {
            const int n = std::min(Tiles::kColumns, columns.n - c);
            if (c == 0 || n < Tiles::kColumns) Tiles::configure_for(n);
            for (int v = 0; v * kLanes < n_rows; ++v)
                tiles.run({v, n, x + c * kColumnBytes, out + c * kPanelRows + v * kLanes});
        }
        tiles.finish();
    }
    cama::deliver(columns, first_row, n_rows, out);
}

template <class Tiles>
void use_tiles(Kernel& kernel) {
    multiply_few<Tiles> = kernel.multiply;
    kernel.multiply = multiply_tiles<Tiles>;
    kernel.scratch_bytes = std::max(kernel.scratch_bytes, sizeof(typename Tiles::Panel));
}

// Those of AVX-512, with tiles where there are any for a format.
std::vector<Kernel> with_tiles() {
    std::vector<Kernel> kernels;
    const Kernel* kernel = cama::kernels_avx512();
    do {
        kernels.push_back(*kernel);
        switch (kernel->type) {
            case ggml::Q2_K: use_tiles<SuperTiles<Q2K>>(kernels.back()); break;
            case ggml::Q3_K: use_tiles<SuperTiles<Q3K>>(kernels.back()); break;
            case ggml::Q4_K: use_tiles<SuperTiles<Q4K>>(kernels.back()); break;
            case ggml::Q5_K: use_tiles<SuperTiles<Q5K>>(kernels.back()); break;
            case ggml::Q6_K: use_tiles<SuperTiles<Q6K>>(kernels.back()); break;
            case ggml::IQ4_XS: use_tiles<SuperTiles<IQ4XS>>(kernels.back()); break;
            case ggml::Q4_0: use_tiles<BlockTiles<Q40>>(kernels.back()); break;
            case ggml::Q4_1: use_tiles<BlockTiles<Q41>>(kernels.back()); break;
            case ggml::Q5_0: use_tiles<BlockTiles<Q50>>(kernels.back()); break;
            case ggml::Q5_1: use_tiles<BlockTiles<Q51>>(kernels.back()); break;
            case ggml::Q8_0: use_tiles<BlockTiles<Q80>>(kernels.back()); break;
            case ggml::IQ4_NL: use_tiles<BlockTiles<IQ4NL>>(kernels.back()); break;
            case ggml::MXFP4: use_tiles<BlockTiles<MXFP4>>(kernels.back()); break;
            case ggml::F16: use_float_tiles<F16Planes, 24>(kernels.back()); break;
            case ggml::BF16: use_float_tiles<BF16Planes, 16>(kernels.back()); break;
        }
    } while (kernel++->type >= 0);
    return kernels;
}

}  // namespace

const Kernel* cama::kernels_amx() {
    static const std::vector<Kernel> kernels = with_tiles();
    return kernels.data();
}

// A process must ask for tiles, since a thread that has any takes 8 KB more to save.
bool cama::may_use_tiles() {
    unsigned a, b, c, d;
    constexpr unsigned kTiles = 1u << 24, kBytes = 1u << 25, kFloats = 1u << 22;
    constexpr unsigned kAll = kTiles | kBytes | kFloats;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAll) != kAll) return false;
    constexpr long kArchRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kArchRequestPermission, kTileData) == 0;
}
