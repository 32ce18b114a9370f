// Formats of cached keys and values: eight floats from a place of a cell that eight divides.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "attention_kernel.h"
#include "ggml_abi.h"

namespace {

using cama::Block;
using cama::CellFormat;
using cama::Cells;
using cama::kBlockCells;
using cama::kKeyStride;

inline __m128i eight_bytes(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
inline __m128i sixteen_bytes(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

inline __m256 half(const uint8_t* p) {
    int16_t bits;
    std::memcpy(&bits, p, 2);
    return _mm256_cvtph_ps(_mm_set1_epi16(bits));
}

struct CellF32 {
    static constexpr int kType = ggml::F32, kBytes = 4, kMultiple = 1;
    static __m256 load(const uint8_t* cell, int i) { return _mm256_loadu_ps(reinterpret_cast<const float*>(cell) + i); }
};

struct CellF16 {
    static constexpr int kType = ggml::F16, kBytes = 2, kMultiple = 1;
    static __m256 load(const uint8_t* cell, int i) { return _mm256_cvtph_ps(sixteen_bytes(cell + 2 * i)); }
};

struct CellBF16 {
    static constexpr int kType = ggml::BF16, kBytes = 2, kMultiple = 1;
    static __m256 load(const uint8_t* cell, int i) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(sixteen_bytes(cell + 2 * i)), 16));
    }
};

// Blocks of 32: a scale, and a byte for each.
struct CellQ80 {
    static constexpr int kType = ggml::Q8_0, kMultiple = 32;
    static __m256 load(const uint8_t* cell, int i) {
        const uint8_t* block = cell + i / 32 * 34;
        return _mm256_mul_ps(half(block), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight_bytes(block + 2 + i % 32))));
    }
};

// Blocks of 32: a scale, and the halves of 16 bytes, all low ones first.
struct CellQ40 {
    static constexpr int kType = ggml::Q4_0, kMultiple = 32;
    static __m256 load(const uint8_t* cell, int i) {
        const uint8_t* block = cell + i / 32 * 18;
        __m128i q = eight_bytes(block + 2 + i % 16);
        if (i % 32 >= 16) q = _mm_srli_epi16(q, 4);
        q = _mm_sub_epi8(_mm_and_si128(q, _mm_set1_epi8(15)), _mm_set1_epi8(8));
        return _mm256_mul_ps(half(block), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)));
    }
};

// Fewer than eight, at the end of a cell; zeros behind them.
template <class Cell>
inline __m256 load_rest(const uint8_t* cell, int i, int n) {
    alignas(32) uint8_t rest[32] = {};
    if constexpr (Cell::kMultiple == 1) std::memcpy(rest, cell + i * Cell::kBytes, n * Cell::kBytes);
    return Cell::load(rest, 0);
}

inline const uint8_t* cell_at(const Cells& cells, const Block& block, int i) {
    return cells.data + (block.first + block.place[i]) * cells.stride;
}

inline void fetch(const uint8_t* p, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T0);
}

template <class Cell>
inline size_t cell_bytes(int n_elements) {
    if constexpr (Cell::kMultiple == 1) return static_cast<size_t>(n_elements) * Cell::kBytes;
    return static_cast<size_t>(n_elements) / 32 * (Cell::kType == ggml::Q8_0 ? 34 : 18);
}

// Eight vectors of eight floats, rows to columns.
inline void transpose(__m256* x) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            b[i + 2 * j] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
            b[i + 2 * j + 1] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; ++i) {
        x[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

template <class Cell>
void fill_keys(const Cells& cells, int n_elements, const Block& block, const Block& next, float* out) {
    const size_t n_bytes = cell_bytes<Cell>(n_elements);
    const int n_padded = static_cast<int>(cama::padded(block.n));
    for (int first = 0; first < n_padded; first += 8) {
        const uint8_t* cell[8];
        // cells behind the last one repeat it: nobody reads what they give
        for (int i = 0; i < 8; ++i) cell[i] = cell_at(cells, block, first + i < block.n ? first + i : block.n - 1);
        for (int i = first; i < first + 8 && i < next.n; ++i) fetch(cell_at(cells, next, i), n_bytes);
        __m256 x[8];
        int e = 0;
        for (; e + 8 <= n_elements; e += 8) {
            for (int i = 0; i < 8; ++i) x[i] = Cell::load(cell[i], e);
            transpose(x);
            for (int i = 0; i < 8; ++i) _mm256_storeu_ps(out + (e + i) * kKeyStride + first, x[i]);
        }
        if (e == n_elements) continue;
        for (int i = 0; i < 8; ++i) x[i] = load_rest<Cell>(cell[i], e, n_elements - e);
        transpose(x);
        for (int i = 0; i < n_elements - e; ++i) _mm256_storeu_ps(out + (e + i) * kKeyStride + first, x[i]);
    }
}

template <class Cell>
bool fill_values(const Cells& cells, int n_elements, const Block& block, const Block& next, float* out, int stride) {
    const size_t n_bytes = cell_bytes<Cell>(n_elements);
    const int n_padded = static_cast<int>(cama::padded(n_elements));
    __m256 odd = _mm256_setzero_ps();  // NaN from infinity less itself
    for (int i = 0; i < block.n; ++i, out += stride) {
        const uint8_t* cell = cell_at(cells, block, i);
        if (i < next.n) fetch(cell_at(cells, next, i), n_bytes);
        int e = 0;
        for (; e < n_elements; e += 8) {
            const __m256 x = e + 8 <= n_elements ? Cell::load(cell, e) : load_rest<Cell>(cell, e, n_elements - e);
            odd = _mm256_or_ps(odd, _mm256_sub_ps(x, x));
            _mm256_storeu_ps(out + e, x);
        }
        if (e < n_padded) _mm256_storeu_ps(out + e, _mm256_setzero_ps());
    }
    return _mm256_movemask_ps(_mm256_cmp_ps(odd, odd, _CMP_UNORD_Q)) == 0;
}

template <class Cell>
constexpr CellFormat cell_format() {
    return {Cell::kType, Cell::kMultiple, fill_keys<Cell>, fill_values<Cell>};
}

}  // namespace
