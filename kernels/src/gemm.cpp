#include "gemm.h"

#include <emmintrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace cama {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kLargeResult = 4 << 20;  // bytes: more than a core's caches keep until it is read

size_t aligned(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

// Of all quantized columns.
size_t x_bytes(const Product& p) {
    const size_t n_blocks = p.columns.size() * static_cast<size_t>((p.k + 255) / 256);
    return (n_blocks + kColumnsTogether) * p.kernel->column_bytes;
}

// Of one thread.
size_t own_bytes(const Product& p) {
    return aligned(sizeof(float) * kPanelRows * kMaxColumns + p.kernel->scratch_bytes);
}

// To all places that have the same x.
void quantize(const Product& p, const int* places, uint8_t* x, size_t stride) {
    uint8_t* first = x + static_cast<size_t>(*places) * p.kernel->column_bytes;
    p.kernel->quantize(p.columns[*places].x, p.k, first, stride);
    for (int i = 1; i < p.n_same; ++i) {
        uint8_t* other = x + static_cast<size_t>(places[i]) * p.kernel->column_bytes;
        for (int64_t k = 0; k < p.k; k += 256, other += stride)
            std::memcpy(other, first + static_cast<size_t>(k / 256) * stride, p.kernel->column_bytes);
    }
}

// Columns lie far apart: writing them through the caches fetches a line for each piece first.
void write_past_caches(float* y, const float* from, int n) {
    int i = 0;
    for (; i + 4 <= n; i += 4) _mm_stream_ps(y + i, _mm_load_ps(from + i));
    for (; i < n; ++i) y[i] = from[i];
}

// A panel of rows against all columns of a group.
void multiply(const Product& p, const Group& group, int64_t first_row, const uint8_t* x, size_t stride,
              uint8_t* own) {
    auto* out = reinterpret_cast<float*>(own);
    void* scratch = own + sizeof(float) * kPanelRows * kMaxColumns;
    const int n_rows = static_cast<int>(std::min<int64_t>(kPanelRows, p.n_rows - first_row));
    const Weights weights{group.weights, p.row_bytes, p.k};
    const bool are_large = sizeof(float) * p.n_rows * p.columns.size() >= kLargeResult;
    for (int done = 0; done < group.n_columns; done += kMaxColumns) {
        const size_t first = group.first + done;
        const Columns columns{x + first * p.kernel->column_bytes, stride, std::min(kMaxColumns, group.n_columns - done),
                              &p.columns[first], are_large};
        p.kernel->multiply(weights, first_row, n_rows, columns, out, scratch);
    }
}

struct Items {
    int64_t first, end;
};

// What a thread computes next: a share of what is left. Memory is slow where threads read by turns from
// places near each other, and what is fetched ahead would be for another one.
Items take(std::atomic<int64_t>& next, int64_t n_items, int n_threads) {
    int64_t first = next.load(), n;
    do {
        n = std::max<int64_t>(1, (n_items - first) / (2 * n_threads));
        if (first >= n_items) return {n_items, n_items};
    } while (!next.compare_exchange_weak(first, first + n));
    return {first, first + n};
}

}  // namespace

void deliver(const Columns& columns, int64_t first_row, int n_rows, const float* out) {
    for (int c = 0; c < columns.n; ++c, out += kPanelRows) {
        float* y = columns.of[c].y + first_row;
        if (columns.are_large && reinterpret_cast<uintptr_t>(y) % 16 == 0)
            write_past_caches(y, out, n_rows);
        else
            std::memcpy(y, out, sizeof(float) * n_rows);
    }
}

uint8_t* Workspace::take(size_t n_bytes) {
    if (n_bytes > n_bytes_) {
        std::free(memory_);
        memory_ = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, aligned(n_bytes)));
        n_bytes_ = memory_ ? n_bytes : 0;
    }
    return memory_;
}

Workspace::~Workspace() { std::free(memory_); }

bool prepare(const Product& p, int n_threads, ProductMemory& memory) {
    memory.next = 0;
    const uint8_t* before = memory.workspace.taken();
    const uint8_t* now = memory.workspace.take(x_bytes(p) + own_bytes(p) * static_cast<size_t>(n_threads));
    memory.has_columns = memory.has_columns && now == before;
    return now;
}

void compute(const Product& p, const Member& self, ProductMemory& memory) {
    const int n_columns = static_cast<int>(p.columns.size());
    const int64_t n_panels = (p.n_rows + kPanelRows - 1) / kPanelRows;
    const int64_t n_items = n_panels * static_cast<int64_t>(p.groups.size());
    const size_t stride = static_cast<size_t>(n_columns) * p.kernel->column_bytes;
    uint8_t* x = memory.workspace.taken();
    if (!memory.has_columns) {
        for (int i = self.index * p.n_same; i < n_columns; i += self.n * p.n_same)
            quantize(p, &p.places[i], x, stride);
        self.wait();
    }
    uint8_t* own = x + x_bytes(p) + own_bytes(p) * static_cast<size_t>(self.index);
    for (Items items = take(memory.next, n_items, self.n); items.first < items.end;
         items = take(memory.next, n_items, self.n))
        for (int64_t i = items.first; i < items.end; ++i)
            multiply(p, p.groups[i / n_panels], i % n_panels * kPanelRows, x, stride, own);
    _mm_sfence();
}

}  // namespace cama
