// Vectors of eight floats.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "eight_floats.h"

namespace {

struct Vector8 {
    using Type = __m256;
    static constexpr int kWidth = 8, kRegisters = 16;

    static Type all(float x) { return _mm256_set1_ps(x); }
    static Type load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, Type x) { _mm256_storeu_ps(p, x); }
    static Type add(Type a, Type b) { return _mm256_add_ps(a, b); }
    static Type sub(Type a, Type b) { return _mm256_sub_ps(a, b); }
    static Type mul(Type a, Type b) { return _mm256_mul_ps(a, b); }
    static Type div(Type a, Type b) { return _mm256_div_ps(a, b); }
    static Type fma(Type a, Type b, Type c) { return _mm256_fmadd_ps(a, b, c); }
    static Type fnma(Type a, Type b, Type c) { return _mm256_fnmadd_ps(a, b, c); }
    // b where one of them is no number
    static Type min(Type a, Type b) { return _mm256_min_ps(a, b); }
    static Type max(Type a, Type b) { return _mm256_max_ps(a, b); }

    // Lanes whose bit is set from a, the others from b.
    static Type choose(uint32_t bits, Type a, Type b) {
        const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        const __m256i own = _mm256_and_si256(_mm256_set1_epi32(static_cast<int32_t>(bits)), bit);
        return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(own, bit)));
    }
    // 2^n of t, which is 1.5 * 2^23 + n.
    static Type power_of_two(Type t) {
        const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
        return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_castps_si256(all(1))));
    }
    // Numbers of 16 bits.
    static Type load_f16(const uint8_t* p) { return _mm256_cvtph_ps(two_bytes_each(p)); }
    static Type load_bf16(const uint8_t* p) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(two_bytes_each(p)), 16));
    }

    static float first(Type x) { return _mm256_cvtss_f32(x); }
    static float total(Type x) { return total_of(x); }
    // Of four.
    static __m128 totals(Type a, Type b, Type c, Type d) { return totals_of(a, b, c, d); }
    static float greatest(Type x) { return greatest_of(x); }

private:
    static __m128i two_bytes_each(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
};

}  // namespace
