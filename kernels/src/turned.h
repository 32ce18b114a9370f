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

inline __m128i sixteen(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

// 16 bytes of each row from `at` on: 4 vectors of 4 bytes of each.
inline void turn_16(const Rows& rows, int at, __m256i out[4]) {
    __m256i r[4];
    for (int i = 0; i < 4; ++i) r[i] = _mm256_set_m128i(sixteen(rows[4 + i] + at), sixteen(rows[i] + at));
    const __m256i a = _mm256_unpacklo_epi32(r[0], r[1]), b = _mm256_unpackhi_epi32(r[0], r[1]);
    const __m256i c = _mm256_unpacklo_epi32(r[2], r[3]), d = _mm256_unpackhi_epi32(r[2], r[3]);
    out[0] = _mm256_unpacklo_epi64(a, c);
    out[1] = _mm256_unpackhi_epi64(a, c);
    out[2] = _mm256_unpacklo_epi64(b, d);
    out[3] = _mm256_unpackhi_epi64(b, d);
}

// The same for 32 bytes: 8 vectors.
inline void turn(const Rows& rows, int at, __m256i out[8]) {
    turn_16(rows, at, out);
    turn_16(rows, at + 16, out + 4);
}

// The 4 bytes from `at` on.
inline __m256i words(const Rows& rows, int at) {
    alignas(32) uint32_t each[kTurned];
    for (int i = 0; i < kTurned; ++i) std::memcpy(each + i, rows[i] + at, 4);
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(each));
}

inline void put_halves(const Rows& rows, int at, float* to) {
    alignas(16) uint16_t halves[8];
    for (int i = 0; i < 8; ++i) std::memcpy(halves + i, rows[i] + at, 2);
    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(halves))));
}

}  // namespace
