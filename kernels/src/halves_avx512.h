// Cells of halves, 32 of them or 32 of their elements in a vector: keys and values to floats.
#pragma once

#include <immintrin.h>

#include "cell_formats.h"

namespace {

// To the second level only: the first has too few places for lines that are on their way.
inline void fetch_near(const uint8_t* p, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
}

// 32 bytes each of two cells.
inline __m512i two_cells(const uint8_t* a, const uint8_t* b) {
    const auto* low = reinterpret_cast<const __m256i*>(a);
    const auto* high = reinterpret_cast<const __m256i*>(b);
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(low)), _mm256_loadu_si256(high), 1);
}

// Within each quarter of eight vectors, eight halves of eight rows to columns.
inline void transpose_halves(__m512i* x) {
    __m512i a[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm512_unpacklo_epi16(x[i], x[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi16(x[i], x[i + 1]);
    }
    __m512i b[8];
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            b[i + 2 * j] = _mm512_unpacklo_epi32(a[i + j], a[i + j + 2]);
            b[i + 2 * j + 1] = _mm512_unpackhi_epi32(a[i + j], a[i + j + 2]);
        }
    for (int i = 0; i < 4; ++i) {
        x[2 * i] = _mm512_unpacklo_epi64(b[i], b[i + 4]);
        x[2 * i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 4]);
    }
}

inline void store_floats(float* out, __m512i halves) {
    _mm512_storeu_ps(out, _mm512_cvtph_ps(_mm512_castsi512_si256(halves)));
    _mm512_storeu_ps(out + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)));
}

// As fill_keys, which has the rest: cells in halves, turned as such and widened at the end.
void fill_keys_of_halves(const Cells& cells, int n_elements, const Block& block, const Block& next, float* out) {
    if (n_elements % 16) return fill_keys<CellF16>(cells, n_elements, block, next, out);
    const size_t n_bytes = cell_bytes<CellF16>(n_elements);
    const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    for (int first = 0; first < block.n; first += 32) {
        const uint8_t* cell[32];
        for (int i = 0; i < 32; ++i) cell[i] = cell_at(cells, block, first + i < block.n ? first + i : block.n - 1);
        for (int i = first; i < first + 32 && i < next.n; ++i) fetch_near(cell_at(cells, next, i), n_bytes);
        for (int e = 0; e < n_elements; e += 16) {
            // quarters: elements from e and from e + 8 of eight cells, and the same of those 16 behind them
            __m512i a[8], b[8];
            for (int i = 0; i < 8; ++i) {
                a[i] = two_cells(cell[i] + 2 * e, cell[i + 16] + 2 * e);
                b[i] = two_cells(cell[i + 8] + 2 * e, cell[i + 24] + 2 * e);
            }
            transpose_halves(a);
            transpose_halves(b);
            float* to = out + e * kKeyStride + first;
            for (int i = 0; i < 8; ++i) {
                store_floats(to + i * kKeyStride, _mm512_permutex2var_epi64(a[i], even, b[i]));
                store_floats(to + (i + 8) * kKeyStride, _mm512_permutex2var_epi64(a[i], odd, b[i]));
            }
        }
    }
}

// As fill_values, which has the rest.
bool fill_values_of_halves(const Cells& cells, int n_elements, const Block& block, const Block& next, float* out,
                           int stride) {
    if (n_elements % 32) return fill_values<CellF16>(cells, n_elements, block, next, out, stride);
    const size_t n_bytes = cell_bytes<CellF16>(n_elements);
    const __m512i infinite = _mm512_set1_epi16(0x7c00);  // an exponent that infinities and NaN have
    __mmask32 odd = 0;
    for (int i = 0; i < block.n; ++i, out += stride) {
        const uint8_t* cell = cell_at(cells, block, i);
        if (i < next.n) fetch_near(cell_at(cells, next, i), n_bytes);
        for (int e = 0; e < n_elements; e += 32) {
            const __m512i x = _mm512_loadu_si512(cell + 2 * e);
            odd |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(x, infinite), infinite);
            store_floats(out + e, x);
        }
    }
    return odd == 0;
}

}  // namespace
