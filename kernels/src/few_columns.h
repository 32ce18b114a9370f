// Products with few columns, by AVX-512: a row of weights lies along the vectors, as in the file.
//
// 16 rows go together through their blocks of 256 weights. The sums of a row are in the lanes of a
// vector first; a tree of additions turns 16 such vectors into one that has a row in each lane. What
// follows are the operations of panels.h in the same order, so results equal theirs to the bit.
#pragma once

#include "panels.h"

namespace {

constexpr int kRows = 16;       // that go together
constexpr int kFewColumns = 8;  // at most

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }

inline __m512i add_halves(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

// Sums within each 128 bits of 4 vectors: a number for each of them.
inline __m512i add_quarters(const __m512i v[4]) {
    const __m512i a = add_halves(v[0], v[1]), b = add_halves(v[2], v[3]);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

inline __m512i add_lanes(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

// The sum of each of 16 vectors.
inline __m512i totals(const __m512i v[kRows]) {
    const __m512i a = add_lanes(add_quarters(v), add_quarters(v + 4));
    const __m512i b = add_lanes(add_quarters(v + 8), add_quarters(v + 12));
    return add_lanes(a, b);
}

// Bytes from `at` on of the blocks of 16 rows.
struct BlockRows {
    const uint8_t* first;
    __m512i distance;  // from the first row

    __m512i words(int at) const { return _mm512_i32gather_epi32(distance, first + at, 1); }
};

// From the first of up to 16 rows to each; rows behind the last one repeat it.
class RowDistances {
public:
    RowDistances(const Weights& w, int n_rows) {
        for (int r = 0; r < kRows; ++r) bytes_[r] = static_cast<int32_t>(std::min(r, n_rows - 1) * w.row_bytes);
    }
    int32_t operator[](int r) const { return bytes_[r]; }
    __m512i all() const { return load(bytes_); }

private:
    alignas(64) int32_t bytes_[kRows];
};

// To the second level of the caches.
inline void fetch(const uint8_t* p, int n_bytes) {
    for (int i = 0; i < n_bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
}

// A vector of 16 rows for each of n columns.
inline void put(const Columns& columns, int64_t first_row, int n_rows, const __m512* results, int n) {
    const auto mask = static_cast<__mmask16>((1u << n_rows) - 1);
    for (int c = 0; c < n; ++c) _mm512_mask_storeu_ps(columns.of[c].y + first_row, mask, results[c]);
}

inline __m512 low_halves(__m512i x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
inline __m512 high_halves(__m512i x) { return low_halves(_mm512_srli_epi32(x, 16)); }

inline __m512i and_all(__m512i x, int byte) { return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(byte))); }

inline __m512i twice(const uint8_t* p) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// 16 numbers that differ in the halves of a vector.
inline __m512i halves_of(int low, int high) {
    return _mm512_inserti64x4(_mm512_set1_epi16(static_cast<int16_t>(low)), _mm256_set1_epi16(static_cast<int16_t>(high)), 1);
}

// A number for each of 16 bits that a byte has set where `bits` has them.
inline __m512i where_set(__m512i bits, __m512i wanted, int number) {
    return _mm512_maskz_set1_epi8(_mm512_test_epi8_mask(bits, wanted), static_cast<char>(number));
}

// ---- formats ---------------------------------------------------------------------------------
//
// Of a format: kOrder says which 16 consecutive weights are in each 128 bits of what quants() gives.
// Made from the blocks of 16 rows, it has d and e of each row in a lane; scales() of the sub-blocks
// of one row, 16 bits each; and minima of two sub-blocks kPairs each, 16 bits each, a row in a lane.
template <class Format>
struct Along;

struct SixBits {
    static constexpr int kOrder[] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    static constexpr int kPairs[] = {0, 2, 1, 3, 4, 6, 5, 7};
    __m512 d, e;
    __m512i minima[4];
    alignas(64) uint64_t bytes[kRows];

    explicit SixBits(const BlockRows& rows) {
        const __m512i both = rows.words(0), w0 = rows.words(4), w1 = rows.words(8), w2 = rows.words(12);
        d = low_halves(both);
        e = high_halves(both);
        const auto high = [&](__m512i low, __m512i top) {
            return _mm512_or_si512(and_all(low, 15), _mm512_slli_epi32(and_all(_mm512_srli_epi32(top, 6), 3), 4));
        };
        const __m512i first = and_all(w0, 63), second = high(w2, w0);
        _mm512_store_si512(bytes, _mm512_unpacklo_epi32(first, second));
        _mm512_store_si512(bytes + 8, _mm512_unpackhi_epi32(first, second));
        const __m512i even = _mm512_set1_epi32(0x00ff00ff);
        const __m512i m[] = {and_all(w1, 63), high(_mm512_srli_epi32(w2, 4), w1)};
        for (int i = 0; i < 2; ++i) {
            minima[2 * i] = _mm512_and_si512(m[i], even);
            minima[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi32(m[i], 8), even);
        }
    }

    __m256i scales(int r, const uint8_t*) const {
        const uint64_t* at = bytes + (r & 2) * 4 + r / 4 * 2 + (r & 1);
        return _mm256_castsi128_si256(_mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
    }
};

template <>
struct Along<Q4K> : SixBits {
    using SixBits::SixBits;
    static void quants(const uint8_t* block, __m512i q[4]) {
        for (int i = 0; i < 2; ++i) {
            const __m512i x = load(block + 16 + 64 * i);
            q[2 * i] = and_all(x, 15);
            q[2 * i + 1] = and_all(_mm512_srli_epi16(x, 4), 15);
        }
    }
};

template <>
struct Along<Q5K> : SixBits {
    using SixBits::SixBits;
    static void quants(const uint8_t* block, __m512i q[4]) {
        const __m512i high = twice(block + 16);
        for (int i = 0; i < 4; ++i) {
            const __m512i x = load(block + 48 + 64 * (i / 2));
            const int bit = 0x101 << (i / 2 * 4 + i % 2);  // of the sub-block in the lower half
            q[i] = _mm512_or_si512(and_all(i % 2 ? _mm512_srli_epi16(x, 4) : x, 15),
                                   where_set(high, halves_of(bit, bit << 2), 16));
        }
    }
};

template <>
struct Along<Q6K> {
    static constexpr int kOrder[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    __m512 d;

    explicit Along(const BlockRows& rows) : d(high_halves(rows.words(206))) {}

    __m256i scales(int, const uint8_t* block) const {
        return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 192)));
    }

    static void quants(const uint8_t* block, __m512i q[4]) {
        for (int i = 0; i < 2; ++i) {
            const __m512i x = load(block + 64 * i), high = twice(block + 128 + 32 * i);
            const __m512i up = _mm512_sllv_epi16(high, halves_of(4, 2)), down = _mm512_srlv_epi16(high, halves_of(0, 2));
            q[2 * i] = _mm512_or_si512(and_all(x, 15), and_all(up, 0x30));
            q[2 * i + 1] = _mm512_or_si512(and_all(_mm512_srli_epi16(x, 4), 15), and_all(down, 0x30));
        }
    }
};

// Two bits of a weight, as Q2_K and Q3_K have them.
struct TwoBits {
    static constexpr int kOrder[] = {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15};
    static void quants(const uint8_t* packed, __m512i q[4]) {
        const __m512i x = load(packed);
        for (int i = 0; i < 4; ++i) q[i] = and_all(_mm512_srli_epi16(x, 2 * i), 3);
    }
};

template <>
struct Along<Q2K> : TwoBits {
    static constexpr int kPairs[] = {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15};
    __m512 d, e;
    __m512i minima[8];

    explicit Along(const BlockRows& rows) {
        const __m512i both = rows.words(80), byte = _mm512_set1_epi32(0x000f000f);
        d = low_halves(both);
        e = high_halves(both);
        for (int i = 0; i < 4; ++i) {
            const __m512i w = rows.words(4 * i);
            minima[2 * i] = _mm512_and_si512(_mm512_srli_epi32(w, 4), byte);
            minima[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi32(w, 12), byte);
        }
    }

    __m256i scales(int, const uint8_t* block) const {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
        return _mm256_cvtepu8_epi16(_mm_and_si128(x, _mm_set1_epi8(15)));
    }

    static void quants(const uint8_t* block, __m512i q[4]) { TwoBits::quants(block + 16, q); }
};

template <>
struct Along<Q3K> : TwoBits {
    __m512 d;
    alignas(64) int8_t bytes[4][4][16];  // of row 4 j + i at [i][j]

    explicit Along(const BlockRows& rows) : d(high_halves(rows.words(106))) {
        const __m512i w0 = rows.words(96), w1 = rows.words(100), high = rows.words(104);
        __m512i s[4];
        for (int i = 0; i < 4; ++i) {
            const __m512i low = _mm512_srli_epi32(i % 2 ? w1 : w0, i / 2 * 4);
            const __m512i rest = _mm512_slli_epi32(and_all(_mm512_srli_epi32(high, 2 * i), 3), 4);
            s[i] = _mm512_sub_epi8(_mm512_or_si512(and_all(low, 15), rest), _mm512_set1_epi8(32));
        }
        const __m512i a = _mm512_unpacklo_epi32(s[0], s[1]), b = _mm512_unpackhi_epi32(s[0], s[1]);
        const __m512i c = _mm512_unpacklo_epi32(s[2], s[3]), e = _mm512_unpackhi_epi32(s[2], s[3]);
        _mm512_store_si512(bytes[0], _mm512_unpacklo_epi64(a, c));
        _mm512_store_si512(bytes[1], _mm512_unpackhi_epi64(a, c));
        _mm512_store_si512(bytes[2], _mm512_unpacklo_epi64(b, e));
        _mm512_store_si512(bytes[3], _mm512_unpackhi_epi64(b, e));
    }

    __m256i scales(int r, const uint8_t*) const {
        return _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes[r % 4][r / 4])));
    }

    static void quants(const uint8_t* block, __m512i q[4]) {
        TwoBits::quants(block + 32, q);
        const __m512i high = twice(block);
        for (int i = 0; i < 4; ++i)
            q[i] = _mm512_or_si512(q[i], where_set(high, halves_of(0x101 << i, 0x1010 << i), 4));
    }
};

// ---- products --------------------------------------------------------------------------------

constexpr int power_of(int n) { return n > 1 ? 1 + power_of(n / 2) : 0; }

template <class Format, int C>
class FewColumns {
public:
    static void multiply(const Weights& w, int64_t first_row, int n_rows, const Columns& columns) {
        const FewColumns few(w, columns);
        for (int row = 0; row < n_rows; row += kRows)
            few.run(w.data + (first_row + row) * w.row_bytes, first_row + row, std::min(kRows, n_rows - row));
    }

private:
    using Parts = Along<Format>;

    FewColumns(const Weights& w, const Columns& columns) : w_(w), columns_(columns) {
        alignas(64) int16_t index[32];
        for (int i = 0; i < 4; ++i) {
            for (int j = 0; j < 32; ++j)
                index[j] = static_cast<int16_t>(Parts::kOrder[4 * i + j / 8] * Format::kSubs / 16);
            subs_[i] = load(index);
        }
    }

    void run(const uint8_t* rows, int64_t first_row, int n_rows) const {
        __m512 results[C];
        for (int c = 0; c < C; ++c) results[c] = _mm512_setzero_ps();
        const RowDistances distances(w_, n_rows);
        const uint8_t* x = columns_.x;
        const uint8_t* ahead = rows + kRows * w_.row_bytes;  // the next rows, from their first byte to their last
        for (int64_t b = 0; b < w_.k / kBlock; ++b, rows += Format::kBytes, x += columns_.stride)
            add(rows, distances, reinterpret_cast<const SuperColumn*>(x), results, ahead);
        put(columns_, first_row, n_rows, results, C);
    }

    // What a block of each row gives.
    inline void add(const uint8_t* rows, const RowDistances& distances, const SuperColumn* x, __m512 results[C], const uint8_t*& ahead) const {
        const Parts parts(BlockRows{rows, distances.all()});
        __m512i y[C][4], sums[C][kRows];
        __m256i all[C];
        for (int c = 0; c < C; ++c) {
            for (int i = 0; i < 4; ++i) y[c][i] = activations(x[c], Parts::kOrder + 4 * i);
            all[c] = _mm256_load_si256(reinterpret_cast<const __m256i*>(x[c].sum16));
        }
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) {
            const uint8_t* block = rows + distances[r];
            fetch(ahead, Format::kBytes);
            ahead += Format::kBytes;
            __m512i q[4], scale[4];
            Parts::quants(block, q);
            const __m256i scales = parts.scales(r, block);
            for (int i = 0; i < 4; ++i) scale[i] = _mm512_permutexvar_epi16(subs_[i], _mm512_castsi256_si512(scales));
            for (int c = 0; c < C; ++c) {
                __m512i sum = _mm512_setzero_si512();
                if constexpr (Format::kZero) {
                    const __m256i less = _mm256_slli_epi32(_mm256_madd_epi16(scales, all[c]), power_of(Format::kZero));
                    sum = _mm512_sub_epi32(sum, _mm512_zextsi256_si512(less));
                }
                for (int i = 0; i < 4; ++i)
                    sum = _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(q[i], y[c][i]), scale[i]);
                sums[c][r] = sum;
            }
        }
        for (int c = 0; c < C; ++c) {
            __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(totals(sums[c])), parts.d);
            if constexpr (!Format::kZero) {
                const int16_t* of_column = Format::kSubs == 16 ? x[c].sum16 : x[c].sum32;
                __m512i less = _mm512_setzero_si512();
                for (int j = 0; j < Format::kSubs / 2; ++j) {
                    const auto low = static_cast<uint16_t>(of_column[Parts::kPairs[2 * j]]);
                    const auto high = static_cast<uint32_t>(of_column[Parts::kPairs[2 * j + 1]]) << 16;
                    less = _mm512_dpwssd_epi32(less, parts.minima[j], _mm512_set1_epi32(static_cast<int32_t>(high | low)));
                }
                sum = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(less), parts.e, sum);
            }
            results[c] = _mm512_fmadd_ps(sum, _mm512_set1_ps(x[c].d), results[c]);
        }
    }

    // Four times 16 activations.
    static __m512i activations(const SuperColumn& column, const int order[4]) {
        const auto part = [&](int i) { return _mm_load_si128(reinterpret_cast<const __m128i*>(column.q + 16 * order[i])); };
        const __m256i low = _mm256_set_m128i(part(1), part(0)), high = _mm256_set_m128i(part(3), part(2));
        return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }

    const Weights& w_;
    const Columns& columns_;
    __m512i subs_[4];  // which scale each 16 bits of a vector need
};

// Few columns by Few, more by panels.
template <class Tiles, template <class, int> class Few, class Format, int C = kFewColumns>
void multiply_few_or_more(const Weights& w, int64_t first_row, int n_rows, const Columns& columns, float* out,
                          void* scratch) {
    if (columns.n > C)
        multiply<Tiles>(w, first_row, n_rows, columns, out, scratch);
    else if (columns.n == C)
        Few<Format, C>::multiply(w, first_row, n_rows, columns);
    else if constexpr (C > 1)
        multiply_few_or_more<Tiles, Few, Format, C - 1>(w, first_row, n_rows, columns, out, scratch);
}

}  // namespace
