// Eight rows of packed weights, turned so that a vector holds 4 bytes of each.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

constexpr int kTurned = 8;  // rows that are turned together

using Rows = const uint8_t* [kTurned];

inline __m256i bytes(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }

// Bits [shift, shift + n) of every byte, moved to `to`.
template <int Shift, int N, int To = 0>
inline __m256i bits(__m256i x) {
    constexpr int kMove = Shift - To;
    if constexpr (kMove > 0) x = _mm256_srli_epi16(x, kMove);
    if constexpr (kMove < 0) x = _mm256_slli_epi16(x, -kMove);
    return _mm256_and_si256(x, bytes(((1 << N) - 1) << To));
}

// 8 x 8 numbers of 32 bits.
inline void transpose(__m256i r[8]) {
    __m256i t[8];
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    __m256i u[8];
    for (int i = 0; i < 2; ++i) {
        u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        r[i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x20);
        r[4 + i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x31);
    }
}

// 32 bytes of each row from `at` on: 8 vectors of 4 bytes of each.
inline void turn(const Rows& rows, int at, __m256i out[8]) {
    for (int i = 0; i < 8; ++i) out[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i] + at));
    transpose(out);
}

// The same for 16 bytes: 4 vectors.
inline void turn_16(const Rows& rows, int at, __m256i out[4]) {
    const auto load = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i] + at)); };
    __m256i r[4];
    for (int i = 0; i < 4; ++i) r[i] = _mm256_set_m128i(load(4 + i), load(i));
    const __m256i a = _mm256_unpacklo_epi32(r[0], r[1]), b = _mm256_unpackhi_epi32(r[0], r[1]);
    const __m256i c = _mm256_unpacklo_epi32(r[2], r[3]), d = _mm256_unpackhi_epi32(r[2], r[3]);
    out[0] = _mm256_unpacklo_epi64(a, c);
    out[1] = _mm256_unpackhi_epi64(a, c);
    out[2] = _mm256_unpacklo_epi64(b, d);
    out[3] = _mm256_unpackhi_epi64(b, d);
}

inline void put_halves(const Rows& rows, int at, float* to) {
    alignas(16) uint16_t halves[8];
    for (int i = 0; i < 8; ++i) std::memcpy(halves + i, rows[i] + at, 2);
    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(halves))));
}

}  // namespace
