// How a panel is filled and multiplied, for vectors of any number of rows.
//
// A panel holds 64 rows of 256 weights: q[vectors][64 groups][4 weights of each row of the vector],
// scales and offsets by sub-block or block and row. An instruction set adds its tiles.
#pragma once

#include <algorithm>

#include "columns.h"
#include "kernel.h"
#include "super_blocks.h"

namespace {

using cama::Columns;
using cama::kPanelRows;
using cama::Kernel;
using cama::Weights;

constexpr int kGroups = kBlock / 4;

// The bytes of 256 weights of 8 rows; those of the next steps are on their way.
template <int Bytes>
inline void find(const Weights& w, int64_t first_row, int row, int n_rows, int64_t block, Rows& rows) {
    for (int i = 0; i < kTurned; ++i) {
        // rows behind the last one repeat it: nobody reads what they give
        rows[i] = w.data + (first_row + std::min(row + i, n_rows - 1)) * w.row_bytes + block * Bytes;
        prefetch(rows[i] + 2 * Bytes, Bytes);
    }
}

template <class Format, int Lanes, class Panel>
inline void fill_super(Panel& panel, const Weights& w, int64_t first_row, int n_rows, int64_t block) {
    for (int row = 0; row < n_rows; row += kTurned) {
        Rows rows;
        find<Format::kBytes>(w, first_row, row, n_rows, block, rows);
        Format::decode(rows, {panel.q[row / Lanes][0] + 4 * (row % Lanes), 4 * Lanes, &panel.scale[0][row],
                              &panel.offset[0][row], kPanelRows, panel.d + row, panel.e + row});
    }
}

// n_blocks of 32 weights; q is that of the panel.
template <class Format, int Lanes, class Panel>
inline void fill_blocks(Panel& panel, uint8_t (*to)[kGroups][4 * Lanes], const Weights& w, int64_t first_row,
                        int n_rows, int64_t block, int n_blocks) {
    for (int row = 0; row < n_rows; row += kTurned) {
        Rows rows;
        find<8 * Format::kBytes>(w, first_row, row, n_rows, block, rows);
        uint8_t* at = to[row / Lanes][0] + 4 * (row % Lanes);
        for (int j = 0; j < n_blocks; ++j) {
            __m256i q[8];
            Format::decode(rows, j * Format::kBytes, q, &panel.scale[j][row], &panel.offset[j][row]);
            for (int g = 0; g < 8; ++g)
                _mm256_store_si256(reinterpret_cast<__m256i*>(at + 4 * Lanes * (8 * j + g)), q[g]);
        }
    }
}

// Fewer columns than a tile has, up to C.
template <class Tiles, int C>
inline void run_rest(const typename Tiles::Panel& panel, int n_blocks, int v, const uint8_t* x, int n_columns,
                     float* out) {
    if constexpr (C > 0) {
        if (n_columns == C)
            Tiles::template run<C>(panel, n_blocks, v, x, out);
        else
            run_rest<Tiles, C - 1>(panel, n_blocks, v, x, n_columns, out);
    }
}

// Every row of a panel against every column. Tiles::fill() fills it with up to 8 blocks of 32
// weights of each row, Tiles::run<C>() multiplies the vectors v and v + 1 with C columns.
template <class Tiles>
void multiply(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out, void* scratch) {
    auto& panel = *static_cast<typename Tiles::Panel*>(scratch);
    std::memset(out, 0, sizeof(float) * kPanelRows * columns.n);
    const int n_vectors = (n_rows + Tiles::kLanes - 1) / Tiles::kLanes;
    const uint8_t* x = columns.x;
    for (int64_t start = 0, b = 0; start < w.k; start += kBlock, ++b, x += columns.stride) {
        const int n_blocks = static_cast<int>(std::min<int64_t>(8, (w.k - start) / 32));
        Tiles::fill(panel, w, first_row, n_rows, b, n_blocks);
        for (int v = 0; v < n_vectors; v += 2) {
            int c = 0;
            for (; c + Tiles::kColumns <= columns.n; c += Tiles::kColumns)
                Tiles::template run<Tiles::kColumns>(panel, n_blocks, v, x + c * kColumnBytes, out + c * kPanelRows);
            run_rest<Tiles, Tiles::kColumns - 1>(panel, n_blocks, v, x + c * kColumnBytes, columns.n - c,
                                                 out + c * kPanelRows);
        }
    }
    cama::deliver(columns, first_row, n_rows, out);
}

template <class Tiles>
constexpr Kernel kernel(int type, int min_columns) {
    return {type, Tiles::kMultiple, min_columns, sizeof(typename Tiles::Panel), kColumnBytes, Tiles::kQuantize,
            multiply<Tiles>};
}

}  // namespace
