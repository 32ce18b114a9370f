// What lies between products: norms, sums, gates, rotations, and rows that go to the cache.
//
// Each is computed by all of a team, row by row, so that what a row gives depends on it alone. They
// need AVX2, whichever set multiplies: they are bound by memory.
#pragma once

#include <cstdint>
#include <vector>

#include "gemm.h"
#include "ggml_abi.h"
#include "team.h"

namespace cama {

// RMS_NORM, and the MUL that scales its result where it lies, so that nobody else reads that.
bool norms(const ggml::Tensor* op);
bool scales(const ggml::Tensor* scale, const ggml::Tensor* norm);
void norm(const ggml::Tensor* op, const ggml::Tensor* scale, const Member& self);

// ADD and MUL, also of rows that are repeated.
bool combines(const ggml::Tensor* op);
void combine(const ggml::Tensor* op, const Member& self);

// GLU by the sigmoid linear unit (SwiGLU).
bool gates(const ggml::Tensor* op);
void gate(const ggml::Tensor* op, const Member& self);

// SET_ROWS of floats, halves or Q8_0.
bool stores(const ggml::Tensor* op);
bool has_places(const ggml::Tensor* op);  // for every row; one thread asks
void store(const ggml::Tensor* op, const Member& self);

// The cosines and sines of the rotations (ROPE) computed last: all layers have the same.
struct Rotations {
    std::vector<int32_t> positions;
    std::vector<float> factors;
    int32_t parameters[16] = {};
    Workspace table;
    bool is_new = false;
};

bool rotates(const ggml::Tensor* op);
bool prepare(const ggml::Tensor* op, Rotations& rotations);  // one thread; false when there is no memory
void rotate(const ggml::Tensor* op, const Member& self, const Rotations& rotations);

}  // namespace cama
