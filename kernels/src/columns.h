// Activations as signed bytes: what weights are multiplied with.
//
// K-quants meet one scale for 256 of them, formats of 32 one for 32, as in ggml's own kernels.
#pragma once

#include <immintrin.h>


#include "eight_floats.h"
#include "formats.h"
#include "kernel.h"

namespace {

constexpr int kColumnBytes = 320;  // 256 quantized activations with their scales and sums

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

// The greatest magnitude of n floats, of which there are a multiple of 8; NaN is passed over.
inline float largest(const float* x, int n) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    __m256 most = _mm256_setzero_ps();
    for (int i = 0; i < n; i += 8) most = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), most);
    return greatest_of(most);
}

// 32 floats times a factor, rounded to bytes.
inline __m256i to_bytes(const float* x, float factor) {
    const __m256 f = _mm256_set1_ps(factor);
    const auto rounded = [&](int i) { return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), f)); };
    const __m256i low = _mm256_packs_epi32(rounded(0), rounded(8)), high = _mm256_packs_epi32(rounded(16), rounded(24));
    // packing keeps to halves of a register: fours of bytes are in the order 0 2 4 6 1 3 5 7
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

struct SumsOf16 {
    int first, second;
};

inline SumsOf16 sums_of_16(__m256i bytes) {
    const __m256i offset = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
    alignas(32) int64_t eights[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(eights), _mm256_sad_epu8(offset, _mm256_setzero_si256()));
    return {static_cast<int>(eights[0] + eights[1]) - 16 * 128, static_cast<int>(eights[2] + eights[3]) - 16 * 128};
}

inline void quantize_super(const float* x, int64_t k, uint8_t* out, size_t stride) {
    for (int64_t b = 0; b < k / kBlock; ++b, x += kBlock) {
        auto& column = *reinterpret_cast<SuperColumn*>(out + b * stride);
        const float most = largest(x, kBlock);
        const float factor = most > 0 ? 127 / most : 0;
        column.d = factor > 0 ? 1 / factor : 0;
        for (int j = 0; j < 8; ++j) {
            const __m256i q = to_bytes(x + 32 * j, factor);
            const SumsOf16 sums = sums_of_16(q);
            _mm256_store_si256(reinterpret_cast<__m256i*>(column.q + 32 * j), q);
            column.sum16[2 * j] = static_cast<int16_t>(sums.first);
            column.sum16[2 * j + 1] = static_cast<int16_t>(sums.second);
            column.sum32[j] = static_cast<int16_t>(sums.first + sums.second);
        }
    }
}

inline void quantize_blocks(const float* x, int64_t k, uint8_t* out, size_t stride) {
    for (int64_t start = 0; start < k; start += kBlock, out += stride) {
        auto& column = *reinterpret_cast<BlockColumn*>(out);
        for (int j = 0; j < 8; ++j) {
            const float* from = x + start + 32 * j;
            auto* to = reinterpret_cast<__m256i*>(column.q + 32 * j);
            if (start + 32 * j >= k) {
                _mm256_store_si256(to, _mm256_setzero_si256());
                column.d[j] = 0;
                column.sum[j] = 0;
                continue;
            }
            const float most = largest(from, 32);
            const float factor = most > 0 ? 127 / most : 0;
            const __m256i q = to_bytes(from, factor);
            const SumsOf16 sums = sums_of_16(q);
            _mm256_store_si256(to, q);
            // ggml keeps this scale as a half: with the same rounding results do not depend on who computes
            column.d[j] = _cvtsh_ss(_cvtss_sh(most / 127, _MM_FROUND_TO_NEAREST_INT));
            column.sum[j] = sums.first + sums.second;
        }
    }
}

}  // namespace
