// Cases that run what computes on memory of exactly its size: a sanitizer sees every byte too many.
//
// Adding some: a file beside products.cpp with a function that check()s, and a line in cases.cpp.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "attention_kernel.h"
#include "ggml_abi.h"
#include "kernel.h"

namespace cases {

// Ends the run where something is not as it should be.
inline void check(bool holds, const std::string& what) {
    if (holds) return;
    std::fprintf(stderr, "failed: %s\n", what.c_str());
    std::exit(1);
}

using Random = std::mt19937;

inline float normal(Random& random) { return std::normal_distribution<float>()(random); }

// Dense, of elements of `size` bytes.
inline ggml::Tensor tensor(int type, size_t size, void* data, int64_t n0, int64_t n1, int64_t n2) {
    ggml::Tensor t{};
    t.type = type;
    t.data = data;
    const int64_t ne[] = {n0, n1, n2, 1};
    size_t stride = size;
    for (int i = 0; i < 4; ++i) {
        t.ne[i] = ne[i];
        t.nb[i] = stride;
        stride *= ne[i];
    }
    return t;
}

// The kernels that this processor can run, by the name of their instructions.
struct Set {
    const char* name;
    const cama::Kernel* kernels;
    const cama::AttentionKernel* attention;
};
std::vector<Set> sets();

void products();
void attention();
void rows();
void logits();

}  // namespace cases
