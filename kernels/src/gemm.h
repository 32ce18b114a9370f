// Products of quantized matrices with columns of floats, by a team of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "kernel.h"
#include "team.h"

namespace cama {

// Columns that meet the same matrix: columns[first ... first + n_columns).
struct Group {
    const uint8_t* weights;
    int first, n_columns;
};

// Memory that operations use one after the other.
class Workspace {
public:
    // At least n_bytes, or null when there is no memory; until then what was taken last.
    uint8_t* take(size_t n_bytes);
    uint8_t* taken() const { return memory_; }
    Workspace() = default;
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    ~Workspace();

private:
    uint8_t* memory_ = nullptr;
    size_t n_bytes_ = 0;
};

struct Product {
    const Kernel* kernel;
    int64_t k, n_rows;
    size_t row_bytes;
    const std::vector<Column>& columns;
    const std::vector<Group>& groups;
    // Places of columns: each `n_same` of them, one after the other, have the same x.
    const std::vector<int>& places;
    int n_same;
};

// What a team shares.
struct ProductMemory {
    Workspace workspace;
    std::atomic<int64_t> next{0};
    bool has_columns = false;  // those of the product before are the same, and are quantized
};

// One thread prepares, then a team of n_threads computes. False when there is no memory for it.
bool prepare(const Product& product, int n_threads, ProductMemory& memory);
void compute(const Product& product, const Member& self, ProductMemory& memory);

}  // namespace cama
