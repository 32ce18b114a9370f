// What one instruction set offers for attention; attention.cpp calls it.
//
// Cells of the cache come in blocks of 64, blocks in segments of 1024 cells. Both are counted from
// the first cell on, whoever asks: a query's result does not depend on those computed with it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cama {

constexpr int kBlockCells = 64;
constexpr int kSegmentBlocks = 16;
constexpr int kTileRows = 64;

// Keys or values of one head.
struct Cells {
    const uint8_t* data;
    size_t stride;  // from one cell to the next
};

// One row of the mask, surveyed: a bit per cell that it does not forbid.
struct MaskRow {
    const uint64_t* allowed;
    const uint8_t* plain;   // of each block: what it allows gets nothing added
    const uint16_t* added;  // halves; unread where all is plain
};

// The cells of a block that a tile reads, in their order.
struct Block {
    int64_t first;
    int n;  // none, or all places up to kBlockCells if is_whole
    bool is_whole;
    uint8_t place[kBlockCells];
};

struct CellFormat {
    int type;    // ggml's number
    int multiple;  // of which a cell has elements
    // Turned to out[element][place of a block, padded to 16]; `next` is fetched into the caches.
    void (*keys)(const Cells&, int n_elements, const Block&, const Block& next, float* out);
    // To out[place][element, padded to 16 by zeros]. False where some number is infinite or NaN.
    bool (*values)(const Cells&, int n_elements, const Block&, const Block& next, float* out, int stride);
};

// Queries that read the same keys and values: rows are pairs of a query and a head.
struct Tile {
    int n_rows, n_key, n_value;
    Cells keys, values;
    const CellFormat *key_format, *value_format;
    float factor, cap;  // a score is factor * q * k, or cap * tanh(factor * q * k) with a cap
    const float* q[kTileRows];
    float* y[kTileRows];
    float slope[kTileRows];  // what is added is multiplied by it
    const float* sink[kTileRows];  // a score that takes part in the sum only, or null
    MaskRow mask[kTileRows];
};

// Softmax on its way, of the rows of a tile: sum and out are divided by e^max.
struct State {
    float *max, *sum;
    float* out;  // rows row_floats(n_value) apart
};

static inline size_t padded(size_t n) { return (n + 15) / 16 * 16; }

// Rows that are a power of two apart would share few sets of the first-level cache.
static inline size_t row_floats(int n_elements) { return padded(n_elements) + 16; }
constexpr int kKeyStride = kBlockCells + 16;

static inline size_t state_floats(int n_rows, int n_value) {
    return 2 * padded(n_rows) + n_rows * row_floats(n_value);
}

static inline State state_at(float* memory, int n_rows) {
    return {memory, memory + padded(n_rows), memory + 2 * padded(n_rows)};
}

// What a thread needs for a tile besides its states.
static inline size_t scratch_floats(int n_rows, int n_key, int n_value) {
    return n_rows * (padded(n_key) + kBlockCells) + static_cast<size_t>(n_key) * kKeyStride +
           kBlockCells * row_floats(n_value);
}

struct AttentionKernel {
    const CellFormat* formats;  // ended by one of type -1

    // n_cells halves of a mask to bits; those of the last block beyond n_cells are not set.
    void (*survey)(const uint16_t* mask, int64_t n_cells, uint64_t* allowed, uint8_t* plain);
    // How many bits are set in a or b.
    int64_t (*count)(const uint64_t* a, const uint64_t* b, int64_t n_words);

    // Queries into scratch; once per tile and thread, before attend().
    void (*begin)(const Tile&, float* scratch);
    // The state of a tile over n_blocks from first_block on.
    void (*attend)(const Tile&, int64_t first_block, int64_t n_blocks, float* scratch, const State&);
    // total += part
    void (*merge)(const Tile&, const State& total, const State& part);
    // What the rows give, to y.
    void (*finish)(const Tile&, const State&);
};

const AttentionKernel& attention_avx2();
const AttentionKernel& attention_avx512();

}  // namespace cama
