// What one instruction set offers for one weight format; gemm.cpp calls it, for any number of rows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cama {

constexpr int kPanelRows = 64;    // rows of weights that are decoded together
constexpr int kColumnsTogether = 16;
constexpr int kMaxColumns = 512;  // columns that meet a decoded panel before the next one

// 256 rows of a weight matrix, some of which may be missing at its end.
struct Weights {
    const uint8_t* data;
    size_t row_bytes;  // from one row to the next
    int64_t k;         // weights per row
};

struct Column {
    const float* x;  // k of them
    float* y;        // a result of each row of the matrix
};

// Quantized columns: block b of column c lies at x + b * stride + c * column_bytes. Kernels may read
// up to a multiple of kColumnsTogether.
struct Columns {
    const uint8_t* x;
    size_t stride;
    int n;  // at most kMaxColumns
    const Column* of;
    bool are_large;  // no cache holds all results until they are read
};

// Results of a panel to where they belong, from out[column][kPanelRows].
void deliver(const Columns& columns, int64_t first_row, int n_rows, const float* out);

struct Kernel {
    int type;  // ggml's number of the weight format
    int block;  // k is a multiple of it
    int min_columns;  // fewer are left to ggml, which is faster there
    size_t scratch_bytes;  // of a thread
    size_t column_bytes;  // 256 activations as it needs them, a multiple of 64

    // One column of k floats to ceil(k / 256) blocks of column_bytes, `stride` bytes apart.
    void (*quantize)(const float* x, int64_t k, uint8_t* out, size_t stride);

    // Results of n_rows rows from first_row on, of which there are at most kPanelRows. Memory of a
    // thread: `out` for kPanelRows of kMaxColumns columns, and scratch.
    void (*multiply)(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out,
                     void* scratch);
};

// The kernels of an instruction set, ended by one of type -1.
const Kernel* kernels_avx2();
const Kernel* kernels_avxvnni();  // where has_avx_vnni()
const Kernel* kernels_avx512();
const Kernel* kernels_amx();  // where may_use_tiles()

// Whether the processor has VNNI for vectors of AVX2.
bool has_avx_vnni();

// Whether the processor has AMX for bytes and BF16, and the system lets this process use it.
bool may_use_tiles();

}  // namespace cama
