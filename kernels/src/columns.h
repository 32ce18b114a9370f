// Activations as signed bytes: what weights are multiplied with.
//
// K-quants meet one scale for 256 of them, formats of 32 one for 32, as in ggml's own kernels.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "eight_floats.h"
#include "formats.h"
#include "kernel.h"

namespace {

using cama::kColumnBytes;

struct alignas(64) SuperColumn {
    int8_t q[kBlock];
    int16_t sum16[16];  // of 16 activations each
    int16_t sum32[8];
    float d;
};
static_assert(sizeof(SuperColumn) == kColumnBytes);

struct alignas(64) BlockColumn {
    int8_t q[kBlock];
    float d[8];
    int32_t sum[8];  // of q
};
static_assert(sizeof(BlockColumn) == kColumnBytes);

inline void prefetch(const uint8_t* p, int n_bytes) {
    for (int i = 0; i < n_bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T0);
}

// The greatest magnitude of n floats, of which there are a multiple of 8; NaN is passed over.
inline float largest(const float* x, int n) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    __m256 most = _mm256_setzero_ps();
    for (int i = 0; i < n; i += 8) most = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), most);
    return greatest_of(most);
}

void quantize_super(const float* x, int64_t k, uint8_t* out, size_t stride) {
    for (int64_t b = 0; b < k / kBlock; ++b, x += kBlock) {
        auto& column = *reinterpret_cast<SuperColumn*>(out + b * stride);
        const float most = largest(x, kBlock);
        const float factor = most > 0 ? 127 / most : 0;
        column.d = factor > 0 ? 1 / factor : 0;
        for (int i = 0; i < kBlock; ++i) column.q[i] = static_cast<int8_t>(std::nearbyint(x[i] * factor));
        for (int j = 0; j < 16; ++j) {
            int sum = 0;
            for (int i = 0; i < 16; ++i) sum += column.q[16 * j + i];
            column.sum16[j] = static_cast<int16_t>(sum);
        }
        for (int j = 0; j < 8; ++j) column.sum32[j] = static_cast<int16_t>(column.sum16[2 * j] + column.sum16[2 * j + 1]);
    }
}

void quantize_blocks(const float* x, int64_t k, uint8_t* out, size_t stride) {
    for (int64_t start = 0; start < k; start += kBlock, out += stride) {
        auto& column = *reinterpret_cast<BlockColumn*>(out);
        for (int j = 0; j < 8; ++j) {
            const float* from = x + start + 32 * j;
            int8_t* q = column.q + 32 * j;
            if (start + 32 * j >= k) {
                std::memset(q, 0, 32);
                column.d[j] = 0;
                column.sum[j] = 0;
                continue;
            }
            const float most = largest(from, 32);
            const float factor = most > 0 ? 127 / most : 0;
            int sum = 0;
            for (int i = 0; i < 32; ++i) {
                q[i] = static_cast<int8_t>(std::nearbyint(from[i] * factor));
                sum += q[i];
            }
            // ggml keeps this scale as a half: with the same rounding results do not depend on who computes
            column.d[j] = _cvtsh_ss(_cvtss_sh(most / 127, _MM_FROUND_TO_NEAREST_INT));
            column.sum[j] = sum;
        }
    }
}

}  // namespace
