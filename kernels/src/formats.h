// Formats of 32 weights in a block: how those of 8 rows become unsigned bytes, scales and offsets.
//
// Layouts are those of ggml-common.h. A weight is scale * (q - kZero), or scale * q + offset where a
// format has offsets; q is unsigned. decode() takes a block of each row, `at` bytes from its start: 8
// vectors of 4 weights of each. Every file of one instruction set compiles its own copy: nothing here
// may be shared between them, so all has internal linkage.
#pragma once

#include "ggml_abi.h"
#include "turned.h"

namespace {

constexpr int kBlock = 256;  // weights per step along a row

// 16 bytes of each row: the low halves of all, then the high ones.
inline void halves(const Rows& rows, int at, __m256i q[8]) {
    __m256i x[4];
    turn_16(rows, at, x);
    for (int g = 0; g < 4; ++g) {
        q[g] = bits<0, 4>(x[g]);
        q[4 + g] = bits<4, 4>(x[g]);
    }
}

// Adds 16 where one of 32 bits is set.
inline void add_fifth_bits(const Rows& rows, int at, __m256i q[8]) {
    const __m256i all = words(rows, at);
    const __m256i first = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
    for (int g = 0; g < 8; ++g) {
        const __m256i source = _mm256_add_epi8(first, bytes(g / 2));  // the byte with the bits of the group
        const __m256i own = _mm256_set1_epi32(g % 2 ? static_cast<int>(0x80402010) : 0x08040201);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(all, source), own), own);
        q[g] = _mm256_or_si256(q[g], _mm256_and_si256(set, bytes(16)));
    }
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

// The same for the halves of 16 bytes of each row.
inline void look_up(const uint8_t* table, const Rows& rows, int at, __m256i q[8]) {
    halves(rows, at, q);
    for (int g = 0; g < 8; ++g) q[g] = look_up(table, q[g]);
}

struct Q40 {
    static constexpr int kBytes = 18, kMax = 15, kZero = 8;
    static void decode(const Rows& rows, int at, __m256i q[8], float* scale, float*) {
        put_halves(rows, at, scale);
        halves(rows, at + 2, q);
    }
};

struct Q41 {
    static constexpr int kBytes = 20, kMax = 15, kZero = 0;
    static void decode(const Rows& rows, int at, __m256i q[8], float* scale, float* offset) {
        put_halves(rows, at, scale);
        put_halves(rows, at + 2, offset);
        halves(rows, at + 4, q);
    }
};

struct Q50 {
    static constexpr int kBytes = 22, kMax = 31, kZero = 16;
    static void decode(const Rows& rows, int at, __m256i q[8], float* scale, float*) {
        put_halves(rows, at, scale);
        halves(rows, at + 6, q);
        add_fifth_bits(rows, at + 2, q);
    }
};

struct Q51 {
    static constexpr int kBytes = 24, kMax = 31, kZero = 0;
    static void decode(const Rows& rows, int at, __m256i q[8], float* scale, float* offset) {
        put_halves(rows, at, scale);
        put_halves(rows, at + 2, offset);
        halves(rows, at + 8, q);
        add_fifth_bits(rows, at + 4, q);
    }
};

struct Q80 {
    static constexpr int kBytes = 34, kMax = 255, kZero = 128;
    static void decode(const Rows& rows, int at, __m256i q[8], float* scale, float*) {
        put_halves(rows, at, scale);
        turn(rows, at + 2, q);
        for (int g = 0; g < 8; ++g) q[g] = _mm256_xor_si256(q[g], bytes(0x80));
    }
};

struct IQ4NL {
    static constexpr int kBytes = 18, kMax = 241, kZero = 128;
    static void decode(const Rows& rows, int at, __m256i q[8], float* scale, float*) {
        put_halves(rows, at, scale);
        look_up(kWidening, rows, at + 2, q);
    }
};

struct MXFP4 {
    static constexpr int kBytes = 17, kMax = 24, kZero = 12;
    static void decode(const Rows& rows, int at, __m256i q[8], float* scale, float*) {
        for (int i = 0; i < kTurned; ++i) scale[i] = half_power(rows[i][at]);
        look_up(kTinyFloats, rows, at + 1, q);
    }
};

}  // namespace
