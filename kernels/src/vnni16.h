// VNNI in vectors of 16 rows, whose panels are filled by sixteens.
#pragma once

#include "sixteen_blocks.h"
#include "sixteen_super.h"
#include "vector16.h"
#include "vnni_tiles.h"

namespace {

struct Vnni16 : Vector16 {
    using Integers = __m512i;
    static Integers load_integers(const void* p) { return _mm512_loadu_si512(p); }
    static Integers all_integers(int32_t x) { return _mm512_set1_epi32(x); }
    static Integers add_bytes(Integers sum, Integers a, Integers b) { return _mm512_dpbusd_epi32(sum, a, b); }
    static Integers add_words(Integers sum, Integers a, Integers b) { return _mm512_dpwssd_epi32(sum, a, b); }
    static Integers high_words(Integers x) { return _mm512_srai_epi32(x, 16); }
    static Type to_floats(Integers x) { return _mm512_cvtepi32_ps(x); }
};

}  // namespace
