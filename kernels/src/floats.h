// Products with weights of 16 bits, in single precision, of activations rounded to as many.
//
// The lanes of a vector are consecutive weights of a row. Terms are summed by lane over a span of a
// row, lanes then in pairs, spans in order, however many columns there are: what a row gives does
// not depend on the others. Few columns meet the weights where they are, many a decoded panel.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "ggml_abi.h"
#include "kernel.h"

namespace {

constexpr int kSpan = 1024;  // weights of a row that are summed by lane
constexpr int kFew = 32;     // columns that do not repay writing decoded weights

template <class V>
struct F16 {
    static constexpr int kType = ggml::F16;
    static typename V::Type load(const uint8_t* p) { return V::load_f16(p); }
    static __m256 rounded(__m256 x) { return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)); }
};

template <class V>
struct BF16 {
    static constexpr int kType = ggml::BF16;
    static typename V::Type load(const uint8_t* p) { return V::load_bf16(p); }
    static __m256 rounded(__m256 x) {
        const __m256i bits = _mm256_castps_si256(x), last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff)));
        const __m256i upper = _mm256_and_si256(up, _mm256_set1_epi32(static_cast<int>(0xffff0000)));
        return _mm256_blendv_ps(_mm256_castsi256_ps(upper), x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));  // NaN stays
    }
};

// A column is rounded to the format of the weights, as by ggml, with zeros behind its end.
template <class Format>
void round_floats(const float* x, int64_t k, uint8_t* out, size_t stride) {
    for (int64_t start = 0; start < k; start += 256, out += stride) {
        const size_t n = static_cast<size_t>(std::min<int64_t>(256, k - start));
        auto* to = reinterpret_cast<float*>(out);
        std::memcpy(to, x + start, n * sizeof(float));
        std::memset(to + n, 0, (256 - n) * sizeof(float));
        for (int i = 0; i < 256; i += 8) _mm256_store_ps(to + i, Format::rounded(_mm256_load_ps(to + i)));
    }
}

// 256 activations of a column take ColumnBytes, of which their floats are the first.
constexpr int kFloatsBytes = 256 * sizeof(float);

template <class V, class Format, int ColumnBytes>
struct FloatTiles {
    using Type = typename V::Type;
    static constexpr int kBytes = 2, kRows = 4, kColumns = V::kRegisters == 32 ? 6 : 3;

    // Rows lie a bit more than a power of two apart, lest they meet in the same places of a cache.
    struct alignas(64) Panel {
        float w[cama::kPanelRows][kSpan + 16];
    };

    // Four rows as they are mapped; the next four are on their way.
    struct Mapped {
        const uint8_t* rows[kRows];
        size_t next;  // bytes from a row to that of the next four

        Type load(int r, int i) const {
            const uint8_t* p = rows[r] + kBytes * i;
            if (i % (64 / kBytes) == 0) _mm_prefetch(reinterpret_cast<const char*>(p + next), _MM_HINT_T0);
            return Format::load(p);
        }
        // Fewer than a vector has, at the end of a row.
        Type load_rest(int r, int i, int n) const {
            alignas(64) uint8_t rest[kBytes * V::kWidth] = {};
            std::memcpy(rest, rows[r] + kBytes * i, static_cast<size_t>(kBytes * n));
            return Format::load(rest);
        }
    };

    // Four rows of a panel, with zeros behind their end.
    struct Decoded {
        const float (*rows)[kSpan + 16];

        Type load(int r, int i) const { return V::load(rows[r] + i); }
        Type load_rest(int r, int i, int) const { return load(r, i); }
    };

    // Adds n products of each of four rows with each of C columns.
    template <int C, class Rows>
    static void run(const Rows& rows, int n, const uint8_t* x, size_t stride, float* out) {
        Type sum[kRows][C];
        for (int r = 0; r < kRows; ++r)
            for (int c = 0; c < C; ++c) sum[r][c] = V::all(0);
        for (int start = 0; start < n; start += 256, x += stride) {
            const int end = std::min(n - start, 256);
            const auto step = [&](int i, auto load) {
                Type y[C];
                for (int c = 0; c < C; ++c) y[c] = V::load(reinterpret_cast<const float*>(x + c * ColumnBytes) + i);
#pragma GCC unroll 4
                for (int r = 0; r < kRows; ++r) {
                    const Type w = load(r, start + i);
#pragma GCC unroll 6
                    for (int c = 0; c < C; ++c) sum[r][c] = V::fma(w, y[c], sum[r][c]);
                }
            };
            int i = 0;
            for (; i + V::kWidth <= end; i += V::kWidth) step(i, [&](int r, int at) { return rows.load(r, at); });
            if (i < end) step(i, [&](int r, int at) { return rows.load_rest(r, at, end - i); });
        }
        for (int c = 0; c < C; ++c, out += cama::kPanelRows)
            _mm_store_ps(out, _mm_add_ps(_mm_load_ps(out), V::totals(sum[0][c], sum[1][c], sum[2][c], sum[3][c])));
    }

    // As many columns as there are, up to C.
    template <int C, class Rows>
    static void run_up_to(int n_columns, const Rows& rows, int n, const uint8_t* x, size_t stride, float* out) {
        if (n_columns >= C)
            run<C>(rows, n, x, stride, out);
        else if constexpr (C > 1)
            run_up_to<C - 1>(n_columns, rows, n, x, stride, out);
    }
};

// n weights of a row; what is left of the last vector becomes zeros.
template <class V, class Mapped>
inline void decode(const Mapped& from, int r, int n, float* to) {
    int i = 0;
    for (; i + V::kWidth <= n; i += V::kWidth) V::store(to + i, from.load(r, i));
    if (i < n) V::store(to + i, from.load_rest(r, i, n - i));
}

template <class V, class Format, int ColumnBytes = kFloatsBytes>
void multiply_floats(const cama::Weights& w, int64_t first_row, int n_rows, const cama::Columns& columns, float* out,
                     void* scratch) {
    using Tiles = FloatTiles<V, Format, ColumnBytes>;
    constexpr int kRows = Tiles::kRows;
    std::memset(out, 0, sizeof(float) * cama::kPanelRows * columns.n);
    const auto mapped = [&](int row, int64_t start) {
        typename Tiles::Mapped rows{{}, kRows * w.row_bytes};
        // rows behind the last one repeat it: nobody reads what they give
        for (int r = 0; r < kRows; ++r)
            rows.rows[r] = w.data + (first_row + std::min(row + r, n_rows - 1)) * w.row_bytes + Tiles::kBytes * start;
        return rows;
    };
    const auto span_at = [&](int64_t start) { return static_cast<int>(std::min<int64_t>(kSpan, w.k - start)); };
    const auto x_at = [&](int64_t start) { return columns.x + start / 256 * columns.stride; };
    const auto run = [&](const auto& rows, int row, int64_t start, int first, int n) {
        Tiles::template run_up_to<Tiles::kColumns>(n, rows, span_at(start), x_at(start) + first * ColumnBytes,
                                          columns.stride, out + first * cama::kPanelRows + row);
    };
    if (columns.n <= kFew) {
        for (int row = 0; row < n_rows; row += kRows)
            for (int64_t start = 0; start < w.k; start += kSpan)
                for (int c = 0; c < columns.n; c += Tiles::kColumns)
                    run(mapped(row, start), row, start, c, columns.n - c);
    } else {
        auto& panel = *static_cast<typename Tiles::Panel*>(scratch);
        for (int64_t start = 0; start < w.k; start += kSpan) {
            for (int row = 0; row < n_rows; row += kRows)
                for (int r = 0; r < kRows; ++r)
                    decode<V>(mapped(row, start), r, span_at(start), panel.w[row + r]);
            for (int c = 0; c < columns.n; c += Tiles::kColumns)
                for (int row = 0; row < n_rows; row += kRows)
                    run(typename Tiles::Decoded{panel.w + row}, row, start, c, columns.n - c);
        }
    }
    cama::deliver(columns, first_row, n_rows, out);
}

template <class V, template <class> class Format>
constexpr cama::Kernel float_kernel() {
    using Panel = typename FloatTiles<V, Format<V>, kFloatsBytes>::Panel;
    return {Format<V>::kType, 1, 1, sizeof(Panel), kFloatsBytes, round_floats<Format<V>>,
            multiply_floats<V, Format<V>>};
}

}  // namespace
