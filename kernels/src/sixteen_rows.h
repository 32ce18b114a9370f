// A block of each of 16 rows at once, by AVX-512: a vector holds 4 bytes of every row.
#pragma once

#include "panels.h"

namespace {

constexpr int kRows = 16;  // that go together

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

// To the second level of the caches.
inline void fetch(const uint8_t* p, int n_bytes) {
    for (int i = 0; i < n_bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
}

inline __m512i and_all(__m512i x, int byte) { return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(byte))); }

// Bits of b where the mask has them, added to those of a.
inline __m512i or_masked(__m512i a, __m512i b, int byte) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(static_cast<char>(byte)), 0xf8);
}

inline __m512 low_halves(__m512i x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
inline __m512 high_halves(__m512i x) { return low_halves(_mm512_srli_epi32(x, 16)); }

// Bytes a and b of each 4, to 16 bits each.
inline __m512i spread(__m512i x, int a, int b) {
    const int pattern = a | 0x80 << 8 | b << 16 | INT32_MIN;
    return _mm512_shuffle_epi8(x, _mm512_set4_epi32(pattern + 0x000c000c, pattern + 0x00080008,
                                                    pattern + 0x00040004, pattern));
}

// The same for signed bytes, times 1 << Shift.
template <int Shift = 0>
inline __m512i spread_signed(__m512i x, int a, int b) {
    return _mm512_srai_epi16(_mm512_slli_epi16(spread(x, a, b), 8), 8 - Shift);
}

inline __m512i table_of(const uint8_t* table) {
    return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
}

// 4 x 4 words within each 128 bits.
inline void turn_words(__m512i v[4]) {
    const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm512_unpacklo_epi64(a, c);
    v[1] = _mm512_unpackhi_epi64(a, c);
    v[2] = _mm512_unpacklo_epi64(b, d);
    v[3] = _mm512_unpackhi_epi64(b, d);
}

class BlockRows {
public:
    BlockRows(const uint8_t* first, int64_t distance) : first_(first), distance_(distance) {}

    const uint8_t* operator[](int r) const { return first_ + r * distance_; }

    // The 4 bytes from `at` on.
    __m512i words(int at) const {
        const __m512i rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i distances = _mm512_mullo_epi32(rows, _mm512_set1_epi32(static_cast<int>(distance_)));
        return _mm512_i32gather_epi32(distances, first_ + at, 1);
    }

    // Four times 4 bytes.
    void four_words(int at, __m512i out[4]) const {
        for (int i = 0; i < 4; ++i) {
            const uint8_t* p = (*this)[i] + at;
            __m512i x = _mm512_castsi128_si512(sixteen(p));
            x = _mm512_inserti32x4(x, sixteen(p + 4 * distance_), 1);
            x = _mm512_inserti32x4(x, sixteen(p + 8 * distance_), 2);
            out[i] = _mm512_inserti32x4(x, sixteen(p + 12 * distance_), 3);
        }
        turn_words(out);
    }

private:
    const uint8_t* first_;
    int64_t distance_;
};

// Up to 16 rows of a panel from `row` on, up to MaxBytes of each. Where rows are missing there is a
// copy, in which the last one is repeated.
template <int MaxBytes>
class RowsOfPanel {
public:
    RowsOfPanel(const PanelRows& from, int row, int64_t offset, int n_bytes = MaxBytes)
        : rows_(from.at(row, offset), from.distance) {
        if (from.n - row >= kRows) return;
        for (int r = 0; r < kRows; ++r) std::memcpy(copy_ + r * MaxBytes, from.at(row + r, offset), n_bytes);
        rows_ = {copy_, MaxBytes};
    }
    BlockRows rows() const { return rows_; }

private:
    BlockRows rows_;
    uint8_t copy_[kRows * MaxBytes];
};

}  // namespace
