// Products of quantized matrices with columns of floats, spread over the threads of OpenMP.
#pragma once

#include <cstdint>
#include <vector>

#include "kernel.h"

namespace cama {

struct Column {
    const float* x;  // k of them
    float* y;        // n_rows of them
};

// Columns that meet the same matrix: columns[first ... first + n_columns).
struct Group {
    const uint8_t* weights;
    int first, n_columns;
};

// Memory that products use one after the other.
class Workspace {
public:
    uint8_t* take(size_t n_bytes);
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
};

// Returns false when there is no memory for it.
bool compute(const Product& product, int n_threads, Workspace& workspace);

}  // namespace cama
