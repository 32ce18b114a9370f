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
constexpr int kFewColumns = 4;  // memory limits no more

// Up to 64 rows of weights.
struct PanelRows {
    const uint8_t* first;
    int64_t distance;  // from one row to the next
    int n;

    PanelRows(const Weights& w, int64_t first_row, int n_rows)
        : first(w.data + first_row * w.row_bytes), distance(w.row_bytes), n(n_rows) {}

    // A byte of a row. Rows behind the last one repeat it: nobody reads what they give.
    const uint8_t* at(int row, int64_t offset) const { return first + std::min(row, n - 1) * distance + offset; }
};

// Memory on its way to the second level of the caches, a little with each step of a computation: more
// at once would keep what is needed now from coming.
class Ahead {
public:
    Ahead(const uint8_t* first, int64_t n_bytes, int n_steps)
        : next_(first), end_(first + n_bytes), n_bytes_((n_bytes / n_steps / kLine + 1) * kLine) {}

    void step() { steps(1); }

    void steps(int n) {
        const uint8_t* end = std::min(next_ + n * n_bytes_, end_);
        for (; next_ < end; next_ += kLine) {
            fetch(next_);
            fetch(next_ - kAgain);
        }
    }

private:
    static constexpr int kLine = 64;
    static constexpr int kAgain = 4096;  // bytes behind: where too much is on its way, some of it is dropped

    static void fetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

    const uint8_t *next_, *end_;
    int64_t n_bytes_;
};

constexpr int kRowsPerStep = 2;  // to fill a panel

// What the next panel needs of the weights at `block`, if its rows follow in memory: with the steps that
// fill this one, and those that multiply it.
inline Ahead next_panel(const PanelRows& rows, int64_t block, int n_bytes, int n_steps) {
    return {rows.first + rows.n * (rows.distance + block * n_bytes), int64_t{rows.n} * n_bytes,
            rows.n / kRowsPerStep + n_steps};
}

// Where 8 rows are.
inline void find(const PanelRows& from, int row, int64_t offset, Rows& rows) {
    for (int i = 0; i < kTurned; ++i) rows[i] = from.at(row + i, offset);
}

// Fills some rows of a panel with a super-block each. An instruction set may take more at once.
template <class Format, int Lanes>
struct Filler {
    static constexpr int kStep = kTurned;

    template <class Panel>
    static void fill(Panel& panel, const PanelRows& from, int row, int64_t block, Ahead& ahead) {
        ahead.steps(kStep / kRowsPerStep);
        Rows rows;
        find(from, row, block * Format::kBytes, rows);
        Format::decode(rows, {panel.q[row / Lanes][0] + 4 * (row % Lanes), 4 * Lanes, &panel.scale[0][row],
                              &panel.offset[0][row], kPanelRows, panel.d + row, panel.e + row});
    }
};

template <class Format, int Lanes, class Panel>
inline void fill_super(Panel& panel, const PanelRows& from, int64_t block, Ahead& ahead) {
    using Some = Filler<Format, Lanes>;
    for (int row = 0; row < from.n; row += Some::kStep) Some::fill(panel, from, row, block, ahead);
}

// The same for up to 8 blocks of 32 weights.
template <class Format, int Lanes>
struct BlockFiller {
    static constexpr int kStep = kTurned;

    template <class Panel>
    static void fill(Panel& panel, const PanelRows& from, int row, int64_t block, int n_blocks, Ahead& ahead) {
        ahead.steps(kStep / kRowsPerStep);
        Rows rows;
        find(from, row, 8 * block * Format::kBytes, rows);
        uint8_t* at = panel.q[row / Lanes][0] + 4 * (row % Lanes);
        for (int j = 0; j < n_blocks; ++j) {
            __m256i q[8];
            Format::decode(rows, j * Format::kBytes, q, &panel.scale[j][row], &panel.offset[j][row]);
            for (int g = 0; g < 8; ++g)
                _mm256_store_si256(reinterpret_cast<__m256i*>(at + 4 * Lanes * (8 * j + g)), q[g]);
        }
    }
};

template <class Some, class Panel>
inline void fill_blocks(Panel& panel, const PanelRows& from, int64_t block, int n_blocks, Ahead& ahead) {
    for (int row = 0; row < from.n; row += Some::kStep) Some::fill(panel, from, row, block, n_blocks, ahead);
}

// Fewer columns than a tile has, up to C.
template <class Tiles, int C>
inline void run_rest(const typename Tiles::Panel& panel, int n_blocks, int v, const uint8_t* x, int n_columns,
                     float* out, Ahead& ahead) {
    if constexpr (C > 0) {
        if (n_columns == C)
            Tiles::template run<C>(panel, n_blocks, v, x, out, ahead);
        else
            run_rest<Tiles, C - 1>(panel, n_blocks, v, x, n_columns, out, ahead);
    }
}

// Every row of a panel against every column. Tiles::fill() fills it with up to 8 blocks of 32
// weights of each row, Tiles::run<C>() multiplies the vectors v and v + 1 with C columns.
template <class Tiles>
void multiply_panel(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out,
                    void* scratch) {
    auto& panel = *static_cast<typename Tiles::Panel*>(scratch);
    std::memset(out, 0, sizeof(float) * kPanelRows * columns.n);
    const int n_vectors = (n_rows + Tiles::kLanes - 1) / Tiles::kLanes;
    const PanelRows rows(w, first_row, n_rows);
    const int n_tiles = (columns.n + Tiles::kColumns - 1) / Tiles::kColumns;
    const int n_steps = (n_vectors + 1) / 2 * n_tiles * Tiles::kSteps;
    const uint8_t* x = columns.x;
    for (int64_t start = 0, b = 0; start < w.k; start += kBlock, ++b, x += columns.stride) {
        const int n_blocks = static_cast<int>(std::min<int64_t>(8, (w.k - start) / 32));
        Ahead ahead = next_panel(rows, b, Tiles::kBytes, n_steps);
        Tiles::fill(panel, rows, b, n_blocks, ahead);
        for (int v = 0; v < n_vectors; v += 2) {
            int c = 0;
            for (; c + Tiles::kColumns <= columns.n; c += Tiles::kColumns)
                Tiles::template run<Tiles::kColumns>(panel, n_blocks, v, x + c * kColumnBytes, out + c * kPanelRows,
                                                     ahead);
            run_rest<Tiles, Tiles::kColumns - 1>(panel, n_blocks, v, x + c * kColumnBytes, columns.n - c,
                                                 out + c * kPanelRows, ahead);
        }
    }
    cama::deliver(columns, first_row, n_rows, out);
}

// With few columns, which memory limits, panels are as small as can be: nothing fetches what a thread needs
// first.
template <class Tiles>
void multiply(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out, void* scratch) {
    const int n_together = columns.n <= kFewColumns ? 2 * Tiles::kLanes : kPanelRows;
    for (int row = 0; row < n_rows; row += n_together)
        multiply_panel<Tiles>(w, first_row + row, std::min(n_together, n_rows - row), columns, out, scratch);
}

template <class Tiles>
constexpr Kernel kernel(int type, int min_columns) {
    return {type, Tiles::kMultiple, min_columns, sizeof(typename Tiles::Panel), kColumnBytes, Tiles::kQuantize,
            multiply<Tiles>};
}

}  // namespace
