// Kernels for AMX: one instruction multiplies 16 columns of 64 activations with 64 weights of 16 rows.
//
// Panels have the layout of AVX-512's, which is that of AMX's tiles: 16 groups of 4 weights of 16
// rows are a tile. Sums are exact integers and become floats in the order of all other kernels, so
// results equal theirs to the bit.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "amx_blocks.h"
#include "amx_planes.h"
#include "float_tiles.h"

namespace {

// What takes less than another way for some columns, measured. Vectors, as AVX-512 uses them, multiply 11
// columns in the time that a tile takes for up to 16; planes take longer to make, and less for each column.
constexpr int kWorthOfTile = 11, kFewestForPlanes = 49, kFewestOfSixteens = 20;

bool are_better_by_tiles(int n_columns) { return n_columns > (n_columns + kTile - 1) / kTile * kWorthOfTile; }

template <class Tiles>
void multiply_by(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out, void* scratch) {
    auto& panel = *static_cast<typename Tiles::Panel*>(scratch);
    const int n_whole = (columns.n + kTile - 1) / kTile * kTile;
    std::memset(out, 0, sizeof(float) * kPanelRows * n_whole);
    const TilesInUse in_use;
    const PanelRows rows(w, first_row, n_rows);
    const int n_tiles = (columns.n + Tiles::kColumns - 1) / Tiles::kColumns;
    const int n_steps = (n_rows + kLanes - 1) / kLanes * n_tiles * Tiles::kSteps;
    int n_configured = 0;
    const uint8_t* x = columns.x;
    for (int64_t start = 0, b = 0; start < w.k; start += kBlock, ++b, x += columns.stride) {
        const int n_blocks = static_cast<int>(std::min<int64_t>(8, (w.k - start) / 32));
        Ahead ahead = next_panel(rows, b, Tiles::kBytes, n_steps);
        Tiles::fill(panel, rows, b, n_blocks, ahead);
        Tiles tiles(panel);
        for (int c = 0; c < columns.n; c += Tiles::kColumns) {
            const int n = std::min(Tiles::kColumns, columns.n - c);
            if (n != n_configured) Tiles::configure_for(n_configured = n);
            for (int v = 0; v * kLanes < n_rows; ++v)
                tiles.run({v, n, x + c * kColumnBytes, out + c * kPanelRows + v * kLanes}, ahead);
        }
        tiles.finish();
    }
    cama::deliver(columns, first_row, n_rows, out);
}

// Of a format by AVX-512.
template <class Format>
decltype(Kernel::multiply) multiply_few;

template <class Format>
void multiply_super(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out,
                    void* scratch) {
    constexpr bool kIsOfSixteens = Format::kSubs == 16;  // a quarter of a tile
    auto multiply = multiply_few<Format>;
    if (columns.n >= (kIsOfSixteens ? kFewestOfSixteens : kFewestForPlanes))
        multiply = multiply_by<AmxPlanes<Format>>;
    else if (!kIsOfSixteens && are_better_by_tiles(columns.n))
        multiply = multiply_by<AmxByBlocks<AmxSubBlocks<Format>>>;
    multiply(w, first_row, n_rows, columns, out, scratch);
}

template <class Format>
void multiply_blocks(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out,
                     void* scratch) {
    auto multiply = multiply_few<Format>;
    if (are_better_by_tiles(columns.n)) multiply = multiply_by<AmxByBlocks<AmxBlocks<Format>>>;
    multiply(w, first_row, n_rows, columns, out, scratch);
}

template <class Format>
void use_super(Kernel& kernel) {
    multiply_few<Format> = kernel.multiply;
    kernel.multiply = multiply_super<Format>;
    constexpr size_t kPlanes = sizeof(typename AmxPlanes<Format>::Panel);
    kernel.scratch_bytes = std::max({kernel.scratch_bytes, kPlanes, sizeof(typename AmxSubBlocks<Format>::Panel)});
}

template <class Format>
void use_blocks(Kernel& kernel) {
    multiply_few<Format> = kernel.multiply;
    kernel.multiply = multiply_blocks<Format>;
    kernel.scratch_bytes = std::max(kernel.scratch_bytes, sizeof(typename AmxBlocks<Format>::Panel));
}

// Those of AVX-512, with tiles where there are any for a format.
std::vector<Kernel> with_tiles() {
    std::vector<Kernel> kernels;
    const Kernel* kernel = cama::kernels_avx512();
    do {
        kernels.push_back(*kernel);
        switch (kernel->type) {
            case ggml::Q2_K: use_super<Q2K>(kernels.back()); break;
            case ggml::Q3_K: use_super<Q3K>(kernels.back()); break;
            case ggml::Q4_K: use_super<Q4K>(kernels.back()); break;
            case ggml::Q5_K: use_super<Q5K>(kernels.back()); break;
            case ggml::Q6_K: use_super<Q6K>(kernels.back()); break;
            case ggml::IQ4_XS: use_super<IQ4XS>(kernels.back()); break;
            case ggml::Q4_0: use_blocks<Q40>(kernels.back()); break;
            case ggml::Q4_1: use_blocks<Q41>(kernels.back()); break;
            case ggml::Q5_0: use_blocks<Q50>(kernels.back()); break;
            case ggml::Q5_1: use_blocks<Q51>(kernels.back()); break;
            case ggml::Q8_0: use_blocks<Q80>(kernels.back()); break;
            case ggml::IQ4_NL: use_blocks<IQ4NL>(kernels.back()); break;
            case ggml::MXFP4: use_blocks<MXFP4>(kernels.back()); break;
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
