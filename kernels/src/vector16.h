// Vectors of sixteen floats.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "eight_floats.h"

namespace {

struct Vector16 {
    using Type = __m512;
    static constexpr int kWidth = 16, kRegisters = 32;

    static Type all(float x) { return _mm512_set1_ps(x); }
    static Type load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, Type x) { _mm512_storeu_ps(p, x); }
    static Type add(Type a, Type b) { return _mm512_add_ps(a, b); }
    static Type sub(Type a, Type b) { return _mm512_sub_ps(a, b); }
    static Type mul(Type a, Type b) { return _mm512_mul_ps(a, b); }
    static Type div(Type a, Type b) { return _mm512_div_ps(a, b); }
    static Type fma(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }
    static Type fnma(Type a, Type b, Type c) { return _mm512_fnmadd_ps(a, b, c); }
    // b where one of them is no number
    static Type min(Type a, Type b) { return _mm512_min_ps(a, b); }
    static Type max(Type a, Type b) { return _mm512_max_ps(a, b); }

    // Lanes whose bit is set from a, the others from b.
    static Type choose(uint32_t bits, Type a, Type b) {
        return _mm512_mask_mov_ps(b, static_cast<__mmask16>(bits), a);
    }
    // 2^n of t, which is 1.5 * 2^23 + n.
    static Type power_of_two(Type t) {
        const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
        return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_castps_si512(all(1))));
    }
    static float first(Type x) { return _mm256_cvtss_f32(Halves(x).low); }
    static float total(Type x) { return total_of(sum_of_halves(x)); }
    static float greatest(Type x) {
        const Halves h(x);
        return greatest_of(_mm256_max_ps(h.low, h.high));
    }

    // Of four.
    static __m128 totals(Type a, Type b, Type c, Type d) {
        return totals_of(sum_of_halves(a), sum_of_halves(b), sum_of_halves(c), sum_of_halves(d));
    }

    // Numbers of 16 bits.
    static Type load_f16(const uint8_t* p) { return _mm512_cvtph_ps(two_bytes_each(p)); }
    static Type load_bf16(const uint8_t* p) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(two_bytes_each(p)), 16));
    }

private:
    static __m256i two_bytes_each(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
    static __m256 sum_of_halves(Type x) {
        const Halves h(x);
        return _mm256_add_ps(h.low, h.high);
    }
    struct Halves {
        __m256 low, high;
        explicit Halves(Type x) : low(_mm512_castps512_ps256(x)), high(_mm512_extractf32x8_ps(x, 1)) {}
    };
};

}  // namespace
