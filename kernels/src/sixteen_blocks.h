// Blocks of 32 weights of 16 rows at once, by AVX-512.
#pragma once

#include "sixteen_rows.h"

namespace {

// Of a format: quants() are 8 vectors of 4 weights of each row from the blocks `at` bytes behind the
// first ones, unsigned or, with IsSigned, less their zero; scales() and offsets() those of the rows.
template <class Format>
struct SixteenBlocks;

template <int Zero, bool IsSigned>
inline __m512i less_zero(__m512i q) {
    return IsSigned && Zero ? _mm512_sub_epi8(q, _mm512_set1_epi8(static_cast<char>(Zero))) : q;
}

// 16 bytes of each row: the low halves of all, then the high ones.
inline void halves(const BlockRows& rows, int at, __m512i q[8]) {
    __m512i x[4];
    rows.four_words(at, x);
    for (int g = 0; g < 4; ++g) {
        q[g] = and_all(x[g], 15);
        q[4 + g] = and_all(_mm512_srli_epi16(x[g], 4), 15);
    }
}

// Adds 16 where one of 32 bits is set.
inline void add_fifth_bits(const BlockRows& rows, int at, __m512i q[8]) {
    const __m512i all = rows.words(at);
    for (int g = 0; g < 8; ++g) {
        const int byte = g / 2 * 0x01010101;  // the one with the bits of the group
        const __m512i source = _mm512_set4_epi32(0x0c0c0c0c + byte, 0x08080808 + byte, 0x04040404 + byte, byte);
        const __m512i own = _mm512_set1_epi32(g % 2 ? static_cast<int>(0x80402010) : 0x08040201);
        const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(all, source), own);
        q[g] = _mm512_or_si512(q[g], _mm512_maskz_set1_epi8(set, 16));
    }
}

struct HalfScales {
    static __m512 scales(const BlockRows& rows, int at) { return low_halves(rows.words(at)); }
    static __m512 offsets(const BlockRows&, int) { return _mm512_setzero_ps(); }
};

struct HalfOffsets : HalfScales {
    static __m512 offsets(const BlockRows& rows, int at) { return high_halves(rows.words(at)); }
};

template <>
struct SixteenBlocks<Q40> : HalfScales {
    template <bool IsSigned>
    static void quants(const BlockRows& rows, int at, __m512i q[8]) {
        halves(rows, at + 2, q);
        for (int g = 0; g < 8; ++g) q[g] = less_zero<Q40::kZero, IsSigned>(q[g]);
    }
};

template <>
struct SixteenBlocks<Q41> : HalfOffsets {
    template <bool>
    static void quants(const BlockRows& rows, int at, __m512i q[8]) {
        halves(rows, at + 4, q);
    }
};

template <>
struct SixteenBlocks<Q50> : HalfScales {
    template <bool IsSigned>
    static void quants(const BlockRows& rows, int at, __m512i q[8]) {
        halves(rows, at + 6, q);
        add_fifth_bits(rows, at + 2, q);
        for (int g = 0; g < 8; ++g) q[g] = less_zero<Q50::kZero, IsSigned>(q[g]);
    }
};

template <>
struct SixteenBlocks<Q51> : HalfOffsets {
    template <bool>
    static void quants(const BlockRows& rows, int at, __m512i q[8]) {
        halves(rows, at + 8, q);
        add_fifth_bits(rows, at + 4, q);
    }
};

template <>
struct SixteenBlocks<Q80> : HalfScales {
    template <bool IsSigned>
    static void quants(const BlockRows& rows, int at, __m512i q[8]) {
        rows.four_words(at + 2, q);
        rows.four_words(at + 18, q + 4);
        if constexpr (!IsSigned)
            for (int g = 0; g < 8; ++g) q[g] = _mm512_xor_si512(q[g], _mm512_set1_epi8(-128));
    }
};

// Bytes of a table that halves name.
template <class Format, bool IsSigned>
inline void look_up(const uint8_t* table, const BlockRows& rows, int at, __m512i q[8]) {
    const __m512i bytes = less_zero<Format::kZero, IsSigned>(table_of(table));
    halves(rows, at, q);
    for (int g = 0; g < 8; ++g) q[g] = _mm512_shuffle_epi8(bytes, q[g]);
}

template <>
struct SixteenBlocks<IQ4NL> : HalfScales {
    template <bool IsSigned>
    static void quants(const BlockRows& rows, int at, __m512i q[8]) {
        look_up<IQ4NL, IsSigned>(kWidening, rows, at + 2, q);
    }
};

template <>
struct SixteenBlocks<MXFP4> : HalfScales {
    template <bool IsSigned>
    static void quants(const BlockRows& rows, int at, __m512i q[8]) {
        look_up<MXFP4, IsSigned>(kTinyFloats, rows, at + 1, q);
    }
    static __m512 scales(const BlockRows& rows, int at) {  // half_power() of each
        const __m512i exponent = _mm512_and_si512(rows.words(at), _mm512_set1_epi32(255));
        const __m512i small = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), exponent);
        const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(1)), 23);
        const __mmask16 is_small = _mm512_cmplt_epi32_mask(exponent, _mm512_set1_epi32(2));
        return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_small, small));
    }
};

template <class Format, bool IsSigned>
struct SixteenBlocksFiller {
    static constexpr int kStep = kRows;
    using Blocks = SixteenBlocks<Format>;

    template <class Panel>
    static void fill(Panel& panel, const PanelRows& from, int row, int64_t block, int n_blocks, Ahead& ahead) {
        const int64_t offset = 8 * block * Format::kBytes;
        const RowsOfPanel<8 * Format::kBytes> held(from, row, offset, n_blocks * Format::kBytes);
        const BlockRows rows = held.rows();
        for (int j = 0; j < n_blocks; ++j) {
            ahead.step();
            __m512i q[8];
            Blocks::template quants<IsSigned>(rows, j * Format::kBytes, q);
            for (int g = 0; g < 8; ++g) _mm512_store_si512(panel.q[row / kRows][8 * j + g], q[g]);
            _mm512_store_ps(&panel.scale[j][row], Blocks::scales(rows, j * Format::kBytes));
            if constexpr (!Format::kZero)
                _mm512_store_ps(&panel.offset[j][row], Blocks::offsets(rows, j * Format::kBytes));
        }
    }
};

template <class Format>
struct BlockFiller<Format, kRows> : SixteenBlocksFiller<Format, false> {};

}  // namespace
