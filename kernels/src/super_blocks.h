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

// 8 bytes of each row: out[i] has byte 2 i of all rows, then byte 2 i + 1.
inline void turn_bytes(const uint64_t r[8], __m128i out[4]) {
    __m128i a[4];
    for (int i = 0; i < 4; ++i)
        a[i] = _mm_unpacklo_epi8(_mm_cvtsi64_si128(static_cast<int64_t>(r[2 * i])),
                                 _mm_cvtsi64_si128(static_cast<int64_t>(r[2 * i + 1])));
    const __m128i b0 = _mm_unpacklo_epi16(a[0], a[1]), b1 = _mm_unpackhi_epi16(a[0], a[1]);
    const __m128i b2 = _mm_unpacklo_epi16(a[2], a[3]), b3 = _mm_unpackhi_epi16(a[2], a[3]);
    out[0] = _mm_unpacklo_epi32(b0, b2);
    out[1] = _mm_unpackhi_epi32(b0, b2);
    out[2] = _mm_unpacklo_epi32(b1, b3);
    out[3] = _mm_unpackhi_epi32(b1, b3);
}

inline void put_scale(const Place& to, int sub, __m128i signed_bytes) {
    const __m256i x = _mm256_cvtepi8_epi32(signed_bytes);
    const __m256i twice = _mm256_or_si256(_mm256_and_si256(x, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(x, 16));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to.scale + sub * to.stride), twice);
}

// Scales of 8 sub-blocks from `sub` on, a signed byte each.
inline void put_scales(const Place& to, int sub, const uint64_t r[8]) {
    __m128i turned[4];
    turn_bytes(r, turned);
    for (int i = 0; i < 4; ++i) {
        put_scale(to, sub + 2 * i, turned[i]);
        put_scale(to, sub + 2 * i + 1, _mm_srli_si128(turned[i], 8));
    }
}

// Offsets of 8 sub-blocks from `sub` on, signed bytes times 1 << Shift.
template <int Shift>
inline void put_offsets(const Place& to, int sub, const uint64_t r[8]) {
    __m128i turned[4];
    turn_bytes(r, turned);
    for (int i = 0; i < 4; ++i) {
        const __m128i pairs = _mm_unpacklo_epi8(turned[i], _mm_srli_si128(turned[i], 8));
        const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(pairs), Shift);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to.offset + (sub / 2 + i) * to.stride), wide);
    }
}

constexpr uint64_t kLowHalves = 0x0f0f0f0f0f0f0f0f;

// Eight numbers of 6 bits less 32 each: signed bytes.
inline uint64_t less_32(uint64_t x) {
    constexpr uint64_t kTop = 0x8080808080808080;  // borrows stop there
    return ((x | kTop) - 0x2020202020202020) ^ kTop;
}

// Six-bit scales and minima of Q4_K and Q5_K: 12 bytes from `at` on.
inline void put_six_bits(const Place& to, const Rows& rows, int at) {
    uint64_t scales[8], minima[8];
    for (int i = 0; i < 8; ++i) {
        uint32_t w[3];
        std::memcpy(w, rows[i] + at, 12);
        const uint32_t low = w[0] & 0x3f3f3f3f, min_low = w[1] & 0x3f3f3f3f;
        const uint32_t high = (w[2] & 0x0f0f0f0f) | ((w[0] >> 6) & 0x03030303) << 4;
        const uint32_t min_high = ((w[2] >> 4) & 0x0f0f0f0f) | ((w[1] >> 6) & 0x03030303) << 4;
        scales[i] = low | static_cast<uint64_t>(high) << 32;
        minima[i] = min_low | static_cast<uint64_t>(min_high) << 32;
    }
    put_scales(to, 0, scales);
    put_offsets<0>(to, 0, minima);
}

struct Q4K {
    static constexpr int kBytes = 144, kSubs = 8, kMax = 15, kZero = 0;
    static void decode(const Rows& rows, const Place& to) {
        put_halves(rows, 0, to.d);
        put_halves(rows, 2, to.e);
        put_six_bits(to, rows, 4);
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
        put_halves(rows, 0, to.d);
        put_halves(rows, 2, to.e);
        put_six_bits(to, rows, 4);
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
        for (int half = 0; half < 2; ++half) {
            uint64_t scales[8];
            for (int i = 0; i < 8; ++i) std::memcpy(scales + i, rows[i] + 192 + 8 * half, 8);
            put_scales(to, 8 * half, scales);
            put_offsets<5>(to, 8 * half, scales);
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
        uint64_t scales[2][8];
        for (int i = 0; i < 8; ++i) {
            uint64_t low;
            uint32_t high;
            std::memcpy(&low, rows[i] + 96, 8);
            std::memcpy(&high, rows[i] + 104, 4);
            const auto pairs = [&](int shift) { return static_cast<uint64_t>((high >> shift) & 0x03030303) << 4; };
            scales[0][i] = less_32((low & kLowHalves) | pairs(0) | pairs(2) << 32);
            scales[1][i] = less_32(((low >> 4) & kLowHalves) | pairs(4) | pairs(6) << 32);
        }
        __m256i high[8];
        turn(rows, 0, high);
        for (int half = 0; half < 2; ++half) {
            put_scales(to, 8 * half, scales[half]);
            put_offsets<2>(to, 8 * half, scales[half]);
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
        for (int half = 0; half < 2; ++half) {
            uint64_t scales[8], minima[8];
            for (int i = 0; i < 8; ++i) {
                uint64_t both;
                std::memcpy(&both, rows[i] + 8 * half, 8);
                scales[i] = both & kLowHalves;
                minima[i] = (both >> 4) & kLowHalves;
            }
            put_scales(to, 8 * half, scales);
            put_offsets<0>(to, 8 * half, minima);
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
        uint64_t scales[8];
        for (int i = 0; i < 8; ++i) {
            uint32_t low;
            uint16_t high;
            std::memcpy(&high, rows[i] + 2, 2);
            std::memcpy(&low, rows[i] + 4, 4);
            // spread to a byte each: 8 times 4 bits, and 8 times 2
            uint64_t l = low, h = high;
            l = (l | l << 16) & 0x0000ffff0000ffff;
            l = (l | l << 8) & 0x00ff00ff00ff00ff;
            l = (l | l << 4) & kLowHalves;
            h = (h | h << 24) & 0x000000ff000000ff;
            h = (h | h << 12) & 0x000f000f000f000f;
            h = (h | h << 6) & 0x0303030303030303;
            scales[i] = less_32(l | h << 4);
        }
        put_scales(to, 0, scales);
        put_offsets<7>(to, 0, scales);
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
