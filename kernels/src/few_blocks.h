// The same as few_columns.h for formats of 32 weights: two blocks of a row are in a vector.
#pragma once

#include "few_columns.h"
#include "sixteen_blocks.h"

namespace {

inline __m512i add_halves(__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

// Sums within each 128 bits of 4 vectors: a number for each of them.
inline __m512i add_quarters(const __m512i v[4]) {
    const __m512i a = add_halves(v[0], v[1]), b = add_halves(v[2], v[3]);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

// Of a format: the weights of two blocks of a row as unsigned bytes.
template <class Format>
struct Pair;

template <>
struct Pair<Q80> {
    static __m512i of(const uint8_t* first, const uint8_t* second) {
        const auto half = [](const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 2)); };
        const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(half(first)), half(second), 1);
        return _mm512_xor_si512(both, _mm512_set1_epi8(-128));
    }
};

// 16 bytes of each of two blocks: the low halves, then the high ones.
inline __m512i halves(const uint8_t* first, const uint8_t* second) {
    const __m512i both = _mm512_castsi256_si512(_mm256_set_m128i(sixteen(second), sixteen(first)));
    const __m512i twice = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3), both);
    return and_all(_mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4)), 15);
}

template <>
struct Pair<Q40> {
    static __m512i of(const uint8_t* first, const uint8_t* second) { return halves(first + 2, second + 2); }
};

template <>
struct Pair<IQ4NL> {
    static __m512i of(const uint8_t* first, const uint8_t* second) {
        return _mm512_shuffle_epi8(table_of(kWidening), halves(first + 2, second + 2));
    }
};

template <>
struct Pair<MXFP4> {
    static __m512i of(const uint8_t* first, const uint8_t* second) {
        return _mm512_shuffle_epi8(table_of(kTinyFloats), halves(first + 1, second + 1));
    }
};

template <class Format, int C>
class FewBlocks {
public:
    static constexpr int kMost = 2;  // more columns are better by panels

    static void multiply(const Weights& w, int64_t first_row, int n_rows, const Columns& columns) {
        const PanelRows rows(w, first_row, n_rows);
        for (int row = 0; row < n_rows; row += kRows) run(w, rows, row, columns, first_row + row);
    }

private:
    static void run(const Weights& w, const PanelRows& from, int row, const Columns& columns, int64_t first_row) {
        __m512 results[C];
        for (int c = 0; c < C; ++c) results[c] = _mm512_setzero_ps();
        const uint8_t* ahead = from.at(row, kRows * w.row_bytes);  // the next rows, first byte to last
        for (int64_t block = 0; block < w.k / 32; block += 2) {
            const auto* x = reinterpret_cast<const BlockColumn*>(columns.x + block / 8 * columns.stride);
            const bool is_pair = block + 1 < w.k / 32;
            const int n_bytes = (1 + is_pair) * Format::kBytes;
            const RowsOfPanel<2 * Format::kBytes> held(from, row, block * Format::kBytes, n_bytes);
            add(held.rows(), is_pair, x, static_cast<int>(block % 8), results, ahead);
            ahead += kRows * 2 * Format::kBytes;
        }
        put(columns, first_row, std::min(kRows, from.n - row), results, C);
    }

    // What two blocks of each row give, j and j + 1 of their 256 weights, or one of them.
    static inline void add(const BlockRows rows, bool is_pair, const BlockColumn* x, int j, __m512 results[C],
                           const uint8_t* ahead) {
        const int second = is_pair ? Format::kBytes : 0;
        __m512i y[C], sums[C][kRows];
        for (int c = 0; c < C; ++c) y[c] = load(x[c].q + 32 * j);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
            const uint8_t* block = rows[r];
            fetch(ahead + 2 * Format::kBytes * r, 2 * Format::kBytes);
            const __m512i q = Pair<Format>::of(block, block + second);
            for (int c = 0; c < C; ++c) sums[c][r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, y[c]);
        }
        const __m512 scale = SixteenBlocks<Format>::scales(rows, 0);
        const __m512 scale2 = SixteenBlocks<Format>::scales(rows, second);
        for (int c = 0; c < C; ++c) {
            const __m512i a = add_lanes(add_quarters(sums[c]), add_quarters(sums[c] + 4));
            const __m512i b = add_lanes(add_quarters(sums[c] + 8), add_quarters(sums[c] + 12));
            const auto add_block = [&](__m512i total, __m512 of_rows, int i) {
                const __m512i zero = _mm512_set1_epi32(Format::kZero * x[c].sum[i]);
                const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(total, zero));
                results[c] = _mm512_fmadd_ps(sum, _mm512_mul_ps(of_rows, _mm512_set1_ps(x[c].d[i])), results[c]);
            };
            add_block(_mm512_shuffle_i32x4(a, b, 0x88), scale, j);
            if (is_pair) add_block(_mm512_shuffle_i32x4(a, b, 0xdd), scale2, j + 1);
        }
    }
};

}  // namespace
