// Products with few columns, by AVX-512: a row of weights lies along the vectors, as in the file.
//
// 16 rows go together through their blocks of 256 weights. The sums of two rows are in the lanes of a
// vector first; a tree of additions turns 8 such vectors into one that has a row in each lane. What
// follows are the operations of vnni_tiles.h in the same order, so results equal theirs to the bit.
#pragma once

#include "sixteen_super.h"

namespace {

inline __m512i add_lanes(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

// Sums of 16 rows, of which each 128 bits of 4 vectors have those of 4 rows, one after the other.
inline __m512i add_all_lanes(__m512i a, __m512i b, __m512i c, __m512i d) {
    return add_lanes(add_lanes(a, b), add_lanes(c, d));
}

// Sums of 16 rows, of which each 128 bits of 8 vectors have two numbers of one row, then two of the next.
inline __m512i totals(const __m512i v[kRows / 2]) {
    const auto of_four = [&](int i) {
        const __m512 a = _mm512_castsi512_ps(v[i]), b = _mm512_castsi512_ps(v[i + 1]);
        return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)),
                                _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)));
    };
    return add_all_lanes(of_four(0), of_four(2), of_four(4), of_four(6));
}

inline __m512i minus(__m512i x) { return _mm512_sub_epi32(_mm512_setzero_si512(), x); }

// Two numbers of 16 bits for every row.
inline __m512i pair_of(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, 4);
    return _mm512_set1_epi32(both);
}

// A vector of 16 rows for each of n columns.
inline void put(const Columns& columns, int64_t first_row, int n_rows, const __m512* results, int n) {
    const auto mask = static_cast<__mmask16>((1u << n_rows) - 1);
    for (int c = 0; c < n; ++c) _mm512_mask_storeu_ps(columns.of[c].y + first_row, mask, results[c]);
}

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
// Of a format: quants() of a row, and kOrder, which 32 consecutive weights are in each half of a vector
// of them.
template <class Format>
struct Along;

struct AlongSixBits {
    static constexpr int kOrder[] = {0, 2, 1, 3, 4, 6, 5, 7};
};

template <>
struct Along<Q4K> : AlongSixBits {
    static void quants(const uint8_t* block, __m512i q[4]) {
        for (int i = 0; i < 2; ++i) {
            const __m512i x = load(block + 16 + 64 * i);
            q[2 * i] = and_all(x, 15);
            q[2 * i + 1] = and_all(_mm512_srli_epi16(x, 4), 15);
        }
    }
};

template <>
struct Along<Q5K> : AlongSixBits {
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
    static constexpr int kOrder[] = {0, 1, 2, 3, 4, 5, 6, 7};

    static void quants(const uint8_t* block, __m512i q[4]) {
        for (int i = 0; i < 2; ++i) {
            const __m512i x = load(block + 64 * i), high = twice(block + 128 + 32 * i);
            const __m512i up = _mm512_sllv_epi16(high, halves_of(4, 2));
            const __m512i down = _mm512_srlv_epi16(high, halves_of(0, 2));
            q[2 * i] = _mm512_or_si512(and_all(x, 15), and_all(up, 0x30));
            q[2 * i + 1] = _mm512_or_si512(and_all(_mm512_srli_epi16(x, 4), 15), and_all(down, 0x30));
        }
    }
};

// Two bits of a weight, as Q2_K and Q3_K have them.
struct TwoBits {
    static constexpr int kOrder[] = {0, 4, 1, 5, 2, 6, 3, 7};
    static void quants(const uint8_t* packed, __m512i q[4]) {
        const __m512i x = load(packed);
        for (int i = 0; i < 4; ++i) q[i] = and_all(_mm512_srli_epi16(x, 2 * i), 3);
    }
};

template <>
struct Along<Q2K> : TwoBits {
    static void quants(const uint8_t* block, __m512i q[4]) { TwoBits::quants(block + 16, q); }
};

template <>
struct Along<Q3K> : TwoBits {
    static void quants(const uint8_t* block, __m512i q[4]) {
        TwoBits::quants(block + 32, q);
        const __m512i high = twice(block);
        for (int i = 0; i < 4; ++i)
            q[i] = _mm512_or_si512(q[i], where_set(high, halves_of(0x101 << i, 0x1010 << i), 4));
    }
};

// Scales by rows: of rows 2 p and 2 p + 1, one after the other, 16 bits each.
template <class Format>
class ScalesByRow {
public:
    explicit ScalesByRow(const Headers<Format>& headers) {
        if constexpr (Format::kSubs == 8) {
            _mm512_store_si512(bytes_[0], _mm512_unpacklo_epi32(headers.scales[0], headers.scales[1]));
            _mm512_store_si512(bytes_[1], _mm512_unpackhi_epi32(headers.scales[0], headers.scales[1]));
        } else {
            __m512i s[] = {headers.scales[0], headers.scales[1], headers.scales[2], headers.scales[3]};
            turn_words(s);
            for (int i = 0; i < 4; ++i) _mm512_store_si512(bytes_[i], s[i]);
        }
    }

    __m512i of(int p) const {
        if constexpr (Format::kSubs == 8)
            return _mm512_castsi256_si512(_mm256_cvtepu8_epi16(sixteen(bytes_[p % 2][p / 2])));
        const uint8_t(*two)[4][16] = bytes_ + p % 2 * 2;
        const __m256i both = _mm256_set_m128i(sixteen(two[1][p / 2]), sixteen(two[0][p / 2]));
        return Format::kZero ? _mm512_cvtepi8_epi16(both) : _mm512_cvtepu8_epi16(both);
    }

private:
    // Of row 4 j + i at [i][j]; with 8 sub-blocks, of row 4 j + 2 i and the next one.
    alignas(64) uint8_t bytes_[Format::kSubs / 4][4][16];
};

// ---- products --------------------------------------------------------------------------------

template <class Format, int C>
class FewColumns {
public:
    static constexpr int kMost = 4;  // more columns are better by panels

    static void multiply(const Weights& w, int64_t first_row, int n_rows, const Columns& columns) {
        const FewColumns few(w, columns);
        const PanelRows rows(w, first_row, n_rows);
        for (int row = 0; row < n_rows; row += kRows) few.run(rows, row, first_row + row);
    }

private:
    using Weights256 = Along<Format>;

    FewColumns(const Weights& w, const Columns& columns) : w_(w), columns_(columns) {
        alignas(64) int16_t index[32];
        for (int i = 0; i < 4; ++i) {
            for (int j = 0; j < 32; ++j) {
                const int weight = 32 * Weights256::kOrder[2 * i + j / 16] + j / 8 % 2 * 16, row = j / 4 % 2;
                index[j] = static_cast<int16_t>(row * Format::kSubs + weight * Format::kSubs / kBlock);
            }
            subs_[i] = load(index);
        }
    }

    void run(const PanelRows& from, int row, int64_t first_row) const {
        __m512 results[C];
        for (int c = 0; c < C; ++c) results[c] = _mm512_setzero_ps();
        const uint8_t* x = columns_.x;
        const uint8_t* ahead = from.at(row, kRows * w_.row_bytes);  // the next rows, first byte to last
        for (int64_t b = 0; b < w_.k / kBlock; ++b, x += columns_.stride) {
            const RowsOfPanel<Format::kBytes> held(from, row, b * Format::kBytes);
            add(held.rows(), reinterpret_cast<const SuperColumn*>(x), results, ahead);
        }
        put(columns_, first_row, std::min(kRows, from.n - row), results, C);
    }

    // What a block of each row gives.
    inline void add(const BlockRows rows, const SuperColumn* x, __m512 results[C], const uint8_t*& ahead) const {
        const Headers<Format> headers(rows);
        const ScalesByRow<Format> scales_by_row(headers);
        const __m512i zero = _mm512_setzero_si512();
        __m512i y[C][4], less[Format::kZero ? C : 1][4], sums[C][kRows / 2];
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 4; ++i) {
                y[c][i] = activations(x[c], Weights256::kOrder + 2 * i);
                if constexpr (Format::kZero)
                    less[c][i] = minus(_mm512_dpbusd_epi32(zero, _mm512_set1_epi8(Format::kZero), y[c][i]));
            }
#pragma GCC unroll 2
        for (int p = 0; p < kRows / 2; ++p) {
            for (int i = 0; i < 2; ++i) {
                fetch(ahead, Format::kBytes);
                ahead += Format::kBytes;
            }
            __m512i even[4], odd[4], scale[4];
            Weights256::quants(rows[2 * p], even);
            Weights256::quants(rows[2 * p + 1], odd);
            for (int i = 0; i < 4; ++i) scale[i] = _mm512_permutexvar_epi16(subs_[i], scales_by_row.of(p));
#pragma GCC unroll 1
            for (int c = 0; c < C; ++c) {
                __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 4
                for (int i = 0; i < 4; ++i) {
                    // of 4 weights each, which are 16 bits, for scales are the same for 16 of them
                    const __m512i first = Format::kZero ? less[c][i] : zero;
                    const __m512i a = _mm512_dpbusd_epi32(first, even[i], y[c][i]);
                    const __m512i b = _mm512_dpbusd_epi32(first, odd[i], y[c][i]);
                    sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(a, b), scale[i]);
                }
                sums[c][p] = sum;
            }
        }
        for (int c = 0; c < C; ++c) {
            __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(totals(sums[c])), headers.d);
            if constexpr (!Format::kZero) {
                const int16_t* of_column = Format::kSubs == 16 ? x[c].sum16 : x[c].sum32;
                __m512i less = _mm512_setzero_si512();
                for (int s = 0; s < Format::kSubs; s += 2) {
                    const __m512i minima = spread(headers.minima[s / 4], s % 4, s % 4 + 1);
                    less = _mm512_dpwssd_epi32(less, minima, pair_of(of_column + s));
                }
                sum = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(less), headers.e, sum);
            }
            results[c] = _mm512_fmadd_ps(sum, _mm512_set1_ps(x[c].d), results[c]);
        }
    }

    // Twice 32 activations.
    static __m512i activations(const SuperColumn& column, const int order[2]) {
        const auto part = [&](int i) {
            return _mm256_load_si256(reinterpret_cast<const __m256i*>(column.q + 32 * order[i]));
        };
        return _mm512_inserti64x4(_mm512_castsi256_si512(part(0)), part(1), 1);
    }

    const Weights& w_;
    const Columns& columns_;
    __m512i subs_[4];  // which scale each 16 bits of a vector need
};

// Few columns along the rows, more by panels.
template <class Tiles, template <class, int> class Few, class Format, int C = Few<Format, 1>::kMost>
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
