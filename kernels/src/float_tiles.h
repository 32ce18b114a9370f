// Products with weights of 16 bits by AMX's tiles, which multiply numbers of 8 significant bits (BF16).
//
// A number of F16, with its 11 bits, is the sum of two of these: its high part and its low part.
#pragma once

#include "floats.h"
#include "tiles.h"
#include "vector16.h"

namespace {

// 256 activations. Rows of tiles lie a bit more than a power of two apart, lest they meet in the
// same places of a cache.
struct alignas(64) FloatColumn {
    float x[256];
    uint16_t high[256], low[256];
    uint8_t apart[64];
};

// The upper 16 bits of 32 numbers, which are BF16.
inline __m512i upper_halves(__m512 a, __m512 b) {
    const __m512i upper = _mm512_packus_epi32(_mm512_srli_epi32(_mm512_castps_si512(a), 16),
                                              _mm512_srli_epi32(_mm512_castps_si512(b), 16));
    // packing keeps to quarters of a register
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), upper);
}

inline __m512 without_high_part(__m512 x) {
    return _mm512_sub_ps(x, _mm512_and_ps(x, _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(0xffff0000)))));
}

template <class Planes>
void split_floats(const float* x, int64_t k, uint8_t* out, size_t stride) {
    round_floats<typename Planes::Format>(x, k, out, stride);
    for (int64_t start = 0; start < k; start += 256, out += stride) {
        auto& column = *reinterpret_cast<FloatColumn*>(out);
        for (int i = 0; i < 256; i += 32) {
            const __m512 a = _mm512_load_ps(column.x + i), b = _mm512_load_ps(column.x + i + 16);
            _mm512_store_si512(column.high + i, upper_halves(a, b));
            _mm512_store_si512(column.low + i, upper_halves(without_high_part(a), without_high_part(b)));
        }
    }
}

// 16 x 16 numbers of 32 bits.
inline void transpose(__m512i r[kTile]) {
    __m512i t[kTile];
    for (int i = 0; i < kTile; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < kTile; i += 4)
        for (int j = 0; j < 2; ++j) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (int i = 0; i < 4; ++i) {  // columns i, 4 + i, 8 + i and 12 + i of 4 rows are in each
        const __m512i a = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x44), b = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xee);
        const __m512i c = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x44);
        const __m512i d = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xee);
        t[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[8 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
    for (int i = 0; i < kTile; ++i) r[i] = t[i];
}

// How 32 weights become words of a tile, in as many planes as they need.
struct F16Planes {
    using Format = F16<Vector16>;
    static constexpr int kPlanes = 2;
    static void split(const uint8_t* p, __m512i& high, __m512i& low) {
        const __m512 a = Format::load(p), b = Format::load(p + 32);
        high = upper_halves(a, b);
        low = upper_halves(without_high_part(a), without_high_part(b));
    }
};

struct BF16Planes {
    using Format = BF16<Vector16>;
    static constexpr int kPlanes = 1;
    static void split(const uint8_t* p, __m512i& high, __m512i&) { high = _mm512_loadu_si512(p); }
};

template <class Planes>
struct FloatPanel {
    static constexpr int kVectors = cama::kPanelRows / kTile, kSteps = 8;
    // Tiles of pairs of consecutive weights of 16 rows.
    alignas(64) uint32_t words[kVectors][kSteps][Planes::kPlanes][kTile][kTile];

    // n weights of each row, with zeros behind them.
    void fill(const cama::Weights& w, int64_t first_row, int n_rows, int64_t start, int n) {
        for (int v = 0; v * kTile < n_rows; ++v)
            for (int step = 0; 32 * step < n; ++step) {
                __m512i high[kTile], low[kTile];
                for (int r = 0; r < kTile; ++r) {
                    const int64_t row = first_row + std::min(v * kTile + r, n_rows - 1);
                    const uint8_t* p = w.data + row * w.row_bytes + 2 * (start + 32 * step);
                    _mm_prefetch(reinterpret_cast<const char*>(p + 512), _MM_HINT_T0);
                    alignas(64) uint8_t rest[64] = {};
                    if (n - 32 * step < 32) {
                        std::memcpy(rest, p, static_cast<size_t>(2 * (n - 32 * step)));
                        p = rest;
                    }
                    Planes::split(p, high[r], low[r]);
                }
                put(words[v][step][0], high);
                if constexpr (Planes::kPlanes == 2) put(words[v][step][1], low);
            }
    }

private:
    static void put(uint32_t (*to)[kTile], __m512i rows[kTile]) {
        transpose(rows);
        for (int i = 0; i < kTile; ++i) _mm512_store_si512(to[i], rows[i]);
    }
};

// Adds products of 32 rows from v on with 32 columns; rows and columns that are not there cost time only.
template <class Planes>
inline void add_products(const FloatPanel<Planes>& panel, int v, int n_steps, const FloatColumn* x, float* out) {
    constexpr int kStride = cama::kPanelRows * sizeof(float), kWords = kTile * sizeof(uint32_t);
    constexpr int kColumn = sizeof(FloatColumn);
    float* second = out + kTile * cama::kPanelRows;
    tile_load<0>(out, kStride);
    tile_load<1>(out + kTile, kStride);
    tile_load<2>(second, kStride);
    tile_load<3>(second + kTile, kStride);
    const auto multiply = [] {
        tile_multiply_floats<0, 4, 6>();
        tile_multiply_floats<1, 4, 7>();
        tile_multiply_floats<2, 5, 6>();
        tile_multiply_floats<3, 5, 7>();
    };
    for (int step = 0; step < n_steps; ++step) {
        const auto weights = [&](int plane) {
            tile_load<6>(panel.words[v][step][plane], kWords);
            tile_load<7>(panel.words[v + 1][step][plane], kWords);
        };
        const auto activations = [&](const auto& part) {
            tile_load<4>(part + 32 * step, kColumn);
            tile_load<5>(reinterpret_cast<const uint8_t*>(part + 32 * step) + kTile * kColumn, kColumn);
        };
        weights(0);
        activations(x->high);
        multiply();
        if constexpr (Planes::kPlanes == 2) {
            activations(x->low);
            multiply();
            weights(1);
            multiply();
            activations(x->high);
            multiply();
        }
    }
    tile_store<0>(out, kStride);
    tile_store<1>(out + kTile, kStride);
    tile_store<2>(second, kStride);
    tile_store<3>(second + kTile, kStride);
}

template <class Planes, int FewestColumns>
void multiply_float_tiles(const cama::Weights& w, int64_t first_row, int n_rows, const cama::Columns& columns,
                          float* out, void* scratch) {
    if (columns.n < FewestColumns)
        return multiply_floats<Vector16, typename Planes::Format, sizeof(FloatColumn)>(w, first_row, n_rows, columns,
                                                                                      out, scratch);
    auto& panel = *static_cast<FloatPanel<Planes>*>(scratch);
    const int n_whole = (columns.n + kTile - 1) / kTile * kTile;
    std::memset(out, 0, sizeof(float) * cama::kPanelRows * n_whole);
    const TilesInUse in_use;
    const uint8_t* x = columns.x;
    for (int64_t start = 0; start < w.k; start += 256, x += columns.stride) {
        const int n = static_cast<int>(std::min<int64_t>(256, w.k - start));
        panel.fill(w, first_row, n_rows, start, n);
        for (int c = 0; c < columns.n; c += 2 * kTile) {
            const int n_here = columns.n - c;
            if (c == 0 || n_here < 2 * kTile)
                configure(std::min(kTile, n_here), std::clamp(n_here - kTile, 1, kTile), 64);
            for (int v = 0; v * kTile < n_rows; v += 2)
                add_products(panel, v, (n + 31) / 32, reinterpret_cast<const FloatColumn*>(x) + c,
                             out + c * cama::kPanelRows + v * kTile);
        }
    }
    cama::deliver(columns, first_row, n_rows, out);
}

template <class Planes, int FewestColumns>
void use_float_tiles(cama::Kernel& kernel) {
    kernel.quantize = split_floats<Planes>;
    kernel.column_bytes = sizeof(FloatColumn);
    kernel.multiply = multiply_float_tiles<Planes, FewestColumns>;
    kernel.scratch_bytes = std::max(kernel.scratch_bytes, sizeof(FloatPanel<Planes>));
}

}  // namespace
