// Formats of 32 weights in a block: how they become unsigned bytes, a scale and an offset.
//
// Layouts are those of ggml-common.h. A weight is scale * (q - kZero), or scale * q + offset where a
// format has offsets; q is unsigned. Every file of one instruction set compiles its own copy:
// nothing here may be shared between them, so all has internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "ggml_abi.h"

namespace {

constexpr int kBlock = 256;  // weights per step along a row

inline float half_to_float(const uint8_t* p) {
    uint16_t half;
    std::memcpy(&half, p, 2);
    return _cvtsh_ss(half);
}

// 16 bytes: the low halves of all, then the high ones.
inline __m256i halves(const uint8_t* p) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m256i both = _mm256_set_m128i(_mm_srli_epi16(x, 4), x);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

// Each of 32 bits as a byte: 16 where it is set.
inline __m256i fifth_bits(const uint8_t* p) {
    int32_t bits;
    std::memcpy(&bits, p, 4);
    const __m256i source = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    const __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), source), own);
    return _mm256_and_si256(_mm256_cmpeq_epi8(spread, own), _mm256_set1_epi8(16));
}

// The byte of a table of 16 that each of the low halves names.
inline __m256i look_up(const uint8_t* table, __m256i halves) {
    const __m128i once = _mm_load_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(once), halves);
}

// What IQ4_NL and IQ4_XS mean by 4 bits, plus 128: steps that widen towards the ends.
alignas(16) constexpr uint8_t kWidening[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                               129, 141, 153, 166, 181, 197, 217, 241};

// Twice what floats of 4 bits are (a sign, 2 bits of exponent, 1 of mantissa), plus 12.
alignas(16) constexpr uint8_t kTinyFloats[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

// Half of the power of two that 8 bits of exponent say; the least two are subnormal.
inline float half_power(uint8_t exponent) {
    const uint32_t bits = exponent < 2 ? 0x00200000u << exponent : static_cast<uint32_t>(exponent - 1) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return power;
}

inline void put(uint8_t* q, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), x); }

struct Q40 {
    static constexpr int kBytes = 18, kMax = 15, kZero = 8;
    static void expand(const uint8_t* b, uint8_t* q, float& scale) {
        scale = half_to_float(b);
        put(q, halves(b + 2));
    }
};

struct Q41 {
    static constexpr int kBytes = 20, kMax = 15, kZero = 0;
    static void expand(const uint8_t* b, uint8_t* q, float& scale, float& offset) {
        scale = half_to_float(b);
        offset = half_to_float(b + 2);
        put(q, halves(b + 4));
    }
};

struct Q50 {
    static constexpr int kBytes = 22, kMax = 31, kZero = 16;
    static void expand(const uint8_t* b, uint8_t* q, float& scale) {
        scale = half_to_float(b);
        put(q, _mm256_or_si256(halves(b + 6), fifth_bits(b + 2)));
    }
};

struct Q51 {
    static constexpr int kBytes = 24, kMax = 31, kZero = 0;
    static void expand(const uint8_t* b, uint8_t* q, float& scale, float& offset) {
        scale = half_to_float(b);
        offset = half_to_float(b + 2);
        put(q, _mm256_or_si256(halves(b + 8), fifth_bits(b + 4)));
    }
};

struct Q80 {
    static constexpr int kBytes = 34, kMax = 255, kZero = 128;
    static void expand(const uint8_t* b, uint8_t* q, float& scale) {
        scale = half_to_float(b);
        const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + 2));
        put(q, _mm256_xor_si256(x, _mm256_set1_epi8(static_cast<char>(0x80))));
    }
};

struct IQ4NL {
    static constexpr int kBytes = 18, kMax = 241, kZero = 128;
    static void expand(const uint8_t* b, uint8_t* q, float& scale) {
        scale = half_to_float(b);
        put(q, look_up(kWidening, halves(b + 2)));
    }
};

struct MXFP4 {
    static constexpr int kBytes = 17, kMax = 24, kZero = 12;
    static void expand(const uint8_t* b, uint8_t* q, float& scale) {
        scale = half_power(b[0]);
        put(q, look_up(kTinyFloats, halves(b + 1)));
    }
};

}  // namespace
