// What a sampler asks of a row of logits, over a whole vocabulary: a plain C interface.
//
// Python calls it by ctypes, and computes the same with NumPy where it is absent
// (src/cama/engine/sampling/plain.py). Nothing here is thrown, and nothing is kept between calls.
#pragma once

#include <cstdint>

#define CAMA_EXPORT extern "C" __attribute__((visibility("default")))

// Where the highest of n logits is, the first of equals; of a NaN, where there is one; -1 where none
// is above minus infinity. `allowed`, if given, has a bit for each logit, the lowest of a byte first
// (the layout of llguidance): others do not count.
CAMA_EXPORT int64_t cama_argmax(const float* x, int64_t n, const uint8_t* allowed);

// The k highest above minus infinity, best first and equals by place: their places and themselves.
// Returns how many there are; -1 where memory ran out. Of a row with NaNs it is the first of them
// alone. n is below 2^32.
CAMA_EXPORT int64_t cama_top_k(const float* x, int64_t n, int64_t k, int64_t* places, float* values);

// The sum of e^(x - highest), in double precision; `highest` is the highest logit.
CAMA_EXPORT double cama_sum_exp(const float* x, int64_t n, float highest);

// A copy of a row in which what is not allowed is minus infinity.
CAMA_EXPORT void cama_mask(const float* x, int64_t n, const uint8_t* allowed, float* out);
