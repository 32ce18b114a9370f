// The instructions of AVX-512, or functions that do the same.
#pragma once

#ifdef CAMA_EMULATE
// Tests of this file on processors that lack the instructions
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#undef _mm512_madd_epi16  // version 0.7 of SIMDe gives it four arguments
#define _mm512_madd_epi16 simde_mm512_madd_epi16
static inline simde__m512 emulated_cvtepi32_ps(simde__m512i x) {  // it has no such function
    simde__m512i_private from = simde__m512i_to_private(x);
    simde__m512_private to;
    for (int i = 0; i < 16; ++i) to.f32[i] = static_cast<float>(from.i32[i]);
    return simde__m512_from_private(to);
}
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#endif
#include <immintrin.h>
