// Super-blocks: 8 rows of 256 weights at once, turned so that a vector holds 4 weights of each row.
//
// Layouts are those of ggml-common.h. A weight is d * scale[sub] * q - e * offset[sub] with q
// unsigned, sub-blocks of 32 or 16 weights. Formats with a kZero have no minima: a weight is
// d * scale[sub] * (q - kZero), so offset is scale * kZero, and e is not used. Rows are
// turned while they are packed, which is less to move; what unpacks them is the same in any order.
#pragma once

#include <immintrin.h>

#include "formats.h"

namespace {

// Where 8 rows go: rows in the last index of each array.
struct Place {
    uint8_t* q;        // [64 groups of 4 weights][8 rows][4], groups q_stride bytes apart
    size_t q_stride;
    int32_t* scale;    // [sub-blocks][8 rows], each twice in 16 bits
    int32_t* offset;   // [pairs of sub-blocks][8 rows], 16 bits each
    size_t stride;     // rows of scale and offset
    float *d, *e;
};

inline void put(const Place& to, int group, __m256i q) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to.q + group * to.q_stride), q);
}

// 8 halves in the lower or upper 16 bits of words.
inline void put_low_halves(float* to, __m256i words) {
    const __m256i low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm256_storeu_ps(to, _mm256_cvtph_ps(packed));
}
inline void put_high_halves(float* to, __m256i words) { put_low_halves(to, _mm256_srli_epi32(words, 16)); }

// Bytes a and b of each 4, to 16 bits each.
inline __m256i spread(__m256i x, int a, int b) {
    const int pattern = a | 0x80 << 8 | b << 16 | INT32_MIN;
    const __m128i four = _mm_setr_epi32(pattern, pattern + 0x00040004, pattern + 0x00080008, pattern + 0x000c000c);
    return _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(four));
}

// The same for signed bytes, times 1 << Shift.
template <int Shift = 0>
inline __m256i spread_signed(__m256i x, int a, int b) {
    return _mm256_srai_epi16(_mm256_slli_epi16(spread(x, a, b), 8), 8 - Shift);
}

inline void put_words(int32_t* to, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x); }

// Scales and minima of 4 sub-blocks from `sub` on, a byte each.
inline void put_scales(const Place& to, int sub, __m256i scales, __m256i minima) {
    for (int i = 0; i < 4; ++i) put_words(to.scale + (sub + i) * to.stride, spread(scales, i, i));
    for (int i = 0; i < 2; ++i) put_words(to.offset + (sub / 2 + i) * to.stride, spread(minima, 2 * i, 2 * i + 1));
}

// The same for a format with a zero of 1 << Zero: signed scales.
template <int Zero>
inline void put_signed_scales(const Place& to, int sub, __m256i scales) {
    for (int i = 0; i < 4; ++i) put_words(to.scale + (sub + i) * to.stride, spread_signed(scales, i, i));
    for (int i = 0; i < 2; ++i)
        put_words(to.offset + (sub / 2 + i) * to.stride, spread_signed<Zero>(scales, 2 * i, 2 * i + 1));
}

// What blocks of Q4_K and Q5_K begin with: d and e, and six bits for each scale and minimum.
inline void put_six_bits(const Place& to, const Rows& rows) {
    __m256i w[4];
    turn_16(rows, 0, w);
    put_low_halves(to.d, w[0]);
    put_high_halves(to.e, w[0]);
    const auto high = [](__m256i low, __m256i top) { return _mm256_or_si256(bits<0, 4>(low), bits<6, 2, 4>(top)); };
    put_scales(to, 0, bits<0, 6>(w[1]), bits<0, 6>(w[2]));
    put_scales(to, 4, high(w[3], w[1]), high(_mm256_srli_epi16(w[3], 4), w[2]));
}

struct Q4K {
    static constexpr int kBytes = 144, kSubs = 8, kMax = 15, kZero = 0;
    static void decode(const Rows& rows, const Place& to) {
        put_six_bits(to, rows);
        for (int j = 0; j < 4; ++j) {
            __m256i x[8];
            turn(rows, 16 + 32 * j, x);
            for (int g = 0; g < 8; ++g) {
                put(to, 16 * j + g, bits<0, 4>(x[g]));
                put(to, 16 * j + 8 + g, bits<4, 4>(x[g]));
            }
        }
    }
};

struct Q5K {
    static constexpr int kBytes = 176, kSubs = 8, kMax = 31, kZero = 0;
    template <int J>
    static void quarter(const Rows& rows, const __m256i high[8], const Place& to) {
        __m256i x[8];
        turn(rows, 48 + 32 * J, x);
        for (int g = 0; g < 8; ++g) {
            put(to, 16 * J + g, _mm256_or_si256(bits<0, 4>(x[g]), bits<2 * J, 1, 4>(high[g])));
            put(to, 16 * J + 8 + g, _mm256_or_si256(bits<4, 4>(x[g]), bits<2 * J + 1, 1, 4>(high[g])));
        }
    }
    static void decode(const Rows& rows, const Place& to) {
        put_six_bits(to, rows);
        __m256i high[8];
        turn(rows, 16, high);
        quarter<0>(rows, high, to);
        quarter<1>(rows, high, to);
        quarter<2>(rows, high, to);
        quarter<3>(rows, high, to);
    }
};

struct Q6K {
    static constexpr int kBytes = 210, kSubs = 16, kMax = 63, kZero = 32;
    static void decode(const Rows& rows, const Place& to) {
        put_halves(rows, 208, to.d);
        __m256i scales[4];
        turn_16(rows, 192, scales);
        for (int i = 0; i < 4; ++i) put_signed_scales<5>(to, 4 * i, scales[i]);
        for (int half = 0; half < 2; ++half) {
            __m256i a[8], b[8], high[8];
            turn(rows, 64 * half, a);
            turn(rows, 64 * half + 32, b);
            turn(rows, 128 + 32 * half, high);
            for (int g = 0; g < 8; ++g) {
                const int group = 32 * half + g;
                put(to, group, _mm256_or_si256(bits<0, 4>(a[g]), bits<0, 2, 4>(high[g])));
                put(to, group + 8, _mm256_or_si256(bits<0, 4>(b[g]), bits<2, 2, 4>(high[g])));
                put(to, group + 16, _mm256_or_si256(bits<4, 4>(a[g]), bits<4, 2, 4>(high[g])));
                put(to, group + 24, _mm256_or_si256(bits<4, 4>(b[g]), bits<6, 2, 4>(high[g])));
            }
        }
    }
};

struct Q3K {
    static constexpr int kBytes = 110, kSubs = 16, kMax = 7, kZero = 4;
    template <int J>  // the 32 weights of bits 2 J
    static void quarter(const __m256i x[8], const __m256i high[8], int half, const Place& to) {
        for (int g = 0; g < 8; ++g) {
            const __m256i third = half ? bits<4 + J, 1, 2>(high[g]) : bits<J, 1, 2>(high[g]);
            put(to, 32 * half + 8 * J + g, _mm256_or_si256(bits<2 * J, 2>(x[g]), third));
        }
    }
    static void decode(const Rows& rows, const Place& to) {
        put_halves(rows, 108, to.d);
        const __m256i low[] = {words(rows, 96), words(rows, 100)}, top = words(rows, 104);
        for (int i = 0; i < 4; ++i) {
            const __m256i four = bits<0, 4>(_mm256_srli_epi16(low[i % 2], i / 2 * 4));
            const __m256i two = bits<0, 2, 4>(_mm256_srli_epi16(top, 2 * i));
            put_signed_scales<2>(to, 4 * i, _mm256_sub_epi8(_mm256_or_si256(four, two), bytes(32)));
        }
        __m256i high[8];
        turn(rows, 0, high);
        for (int half = 0; half < 2; ++half) {
            __m256i x[8];
            turn(rows, 32 + 32 * half, x);
            quarter<0>(x, high, half, to);
            quarter<1>(x, high, half, to);
            quarter<2>(x, high, half, to);
            quarter<3>(x, high, half, to);
        }
    }
};

struct Q2K {
    static constexpr int kBytes = 84, kSubs = 16, kMax = 3, kZero = 0;
    static void decode(const Rows& rows, const Place& to) {
        put_halves(rows, 80, to.d);
        put_halves(rows, 82, to.e);
        __m256i both[4];
        turn_16(rows, 0, both);
        for (int i = 0; i < 4; ++i) put_scales(to, 4 * i, bits<0, 4>(both[i]), bits<4, 4>(both[i]));
        for (int half = 0; half < 2; ++half) {
            __m256i x[8];
            turn(rows, 16 + 32 * half, x);
            for (int g = 0; g < 8; ++g) {
                put(to, 32 * half + g, bits<0, 2>(x[g]));
                put(to, 32 * half + 8 + g, bits<2, 2>(x[g]));
                put(to, 32 * half + 16 + g, bits<4, 2>(x[g]));
                put(to, 32 * half + 24 + g, bits<6, 2>(x[g]));
            }
        }
    }
};

struct IQ4XS {
    static constexpr int kBytes = 136, kSubs = 8, kMax = 241, kZero = 128;
    static void decode(const Rows& rows, const Place& to) {
        put_halves(rows, 0, to.d);
        const __m256i low = words(rows, 4), high = _mm256_srli_epi32(words(rows, 0), 16);
        for (int i = 0; i < 2; ++i) {
            __m256i scales = _mm256_setzero_si256();
            for (int j = 0; j < 4; ++j) {  // 4 bits and 2 more
                const __m256i four = _mm256_and_si256(_mm256_srli_epi32(low, 16 * i + 4 * j), _mm256_set1_epi32(15));
                const __m256i two = _mm256_and_si256(_mm256_srli_epi32(high, 8 * i + 2 * j), _mm256_set1_epi32(3));
                const __m256i six = _mm256_or_si256(four, _mm256_slli_epi32(two, 4));
                scales = _mm256_or_si256(scales, _mm256_slli_epi32(six, 8 * j));
            }
            put_signed_scales<7>(to, 4 * i, _mm256_sub_epi8(scales, bytes(32)));
        }
        for (int j = 0; j < 4; ++j) {  // two sub-blocks: 16 bytes have the weights of each
            __m256i x[8];
            turn(rows, 8 + 32 * j, x);
            for (int g = 0; g < 8; ++g) {
                const int group = 16 * j + (g < 4 ? g : 4 + g);
                put(to, group, look_up(kWidening, bits<0, 4>(x[g])));
                put(to, group + 4, look_up(kWidening, bits<4, 4>(x[g])));
            }
        }
    }
};

}  // namespace
