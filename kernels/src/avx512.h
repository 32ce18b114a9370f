// The instructions of AVX-512, or functions that do the same.
#pragma once

#ifdef CAMA_EMULATE
// Tests of this file on processors that lack the instructions
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#undef _mm512_madd_epi16  // version 0.7 of SIMDe gives it four arguments
#define _mm512_madd_epi16 simde_mm512_madd_epi16
static inline simde__m512 emulated_cvtepi32_ps(simde__m512i x) {  // it has no such functions
    simde__m512i_private from = simde__m512i_to_private(x);
    simde__m512_private to;
    for (int i = 0; i < 16; ++i) to.f32[i] = static_cast<float>(from.i32[i]);
    return simde__m512_from_private(to);
}
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
static inline simde__m512 emulated_cvtph_ps(simde__m256i x) {
    simde__m512_private to;
    to.m256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(x));
    to.m256[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1));
    return simde__m512_from_private(to);
}
#define _mm512_cvtph_ps emulated_cvtph_ps
static inline simde__m512i emulated_cvtepu16_epi32(simde__m256i x) {
    simde__m512i_private to;
    to.m256i[0] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(x));
    to.m256i[1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1));
    return simde__m512i_from_private(to);
}
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
static inline simde__m256 emulated_extractf32x8_ps(simde__m512 x, int half) {
    return simde__m512_to_private(x).m256[half];
}
#define _mm512_extractf32x8_ps emulated_extractf32x8_ps
#endif
#include <immintrin.h>
