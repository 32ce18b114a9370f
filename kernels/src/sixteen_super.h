// Super-blocks of 256 weights of 16 rows at once, by AVX-512.
#pragma once

#include "sixteen_rows.h"

namespace {

// Of a format, for each row: d, e, and of sub-blocks the scales and minima, a byte each, those of 4 in
// a vector. Formats without minima have signed scales.
template <class Format>
struct Headers;

struct SixBits {
    __m512 d, e;
    __m512i scales[2], minima[2];

    explicit SixBits(const BlockRows& rows) {
        __m512i w[4];
        rows.four_words(0, w);
        d = low_halves(w[0]);
        e = high_halves(w[0]);
        const auto high = [](__m512i low, __m512i top) {
            return or_masked(and_all(low, 15), _mm512_srli_epi32(top, 2), 0x30);
        };
        scales[0] = and_all(w[1], 63);
        scales[1] = high(w[3], w[1]);
        minima[0] = and_all(w[2], 63);
        minima[1] = high(_mm512_srli_epi32(w[3], 4), w[2]);
    }
};

template <>
struct Headers<Q4K> : SixBits {
    using SixBits::SixBits;
};

template <>
struct Headers<Q5K> : SixBits {
    using SixBits::SixBits;
};

template <>
struct Headers<Q6K> {
    __m512 d, e;
    __m512i scales[4];

    explicit Headers(const BlockRows& rows) : d(high_halves(rows.words(206))), e(d) { rows.four_words(192, scales); }
};

template <>
struct Headers<Q2K> {
    __m512 d, e;
    __m512i scales[4], minima[4];

    explicit Headers(const BlockRows& rows) {
        const __m512i both = rows.words(80);
        d = low_halves(both);
        e = high_halves(both);
        rows.four_words(0, scales);
        for (int i = 0; i < 4; ++i) {
            minima[i] = and_all(_mm512_srli_epi16(scales[i], 4), 15);
            scales[i] = and_all(scales[i], 15);
        }
    }
};

template <>
struct Headers<Q3K> {
    __m512 d, e;
    __m512i scales[4];

    explicit Headers(const BlockRows& rows) : d(high_halves(rows.words(106))), e(d) {
        const __m512i w0 = rows.words(96), w1 = rows.words(100), high = rows.words(104);
        for (int i = 0; i < 4; ++i) {
            const __m512i low = _mm512_srli_epi32(i % 2 ? w1 : w0, i / 2 * 4);
            const __m512i rest = _mm512_slli_epi32(and_all(_mm512_srli_epi32(high, 2 * i), 3), 4);
            scales[i] = _mm512_sub_epi8(_mm512_or_si512(and_all(low, 15), rest), _mm512_set1_epi8(32));
        }
    }
};

template <>
struct Headers<IQ4XS> {
    __m512 d, e;
    __m512i scales[2];

    explicit Headers(const BlockRows& rows) {
        const __m512i first = rows.words(0), low = rows.words(4), high = _mm512_srli_epi32(first, 16);
        d = e = low_halves(first);
        for (int i = 0; i < 2; ++i) {
            __m512i bytes = _mm512_setzero_si512();
            for (int j = 0; j < 4; ++j) {
                const __m512i four = _mm512_srli_epi32(low, 16 * i + 4 * j);
                const __m512i two = _mm512_srli_epi32(high, 8 * i + 2 * j);
                const __m512i six = or_masked(and_all(four, 15), _mm512_slli_epi32(and_all(two, 3), 4), 0x30);
                bytes = _mm512_or_si512(bytes, _mm512_slli_epi32(_mm512_and_si512(six, _mm512_set1_epi32(63)), 8 * j));
            }
            scales[i] = _mm512_sub_epi8(bytes, _mm512_set1_epi8(32));
        }
    }
};

// Where blocks of 16 rows go, like Place.
template <class Format>
struct SixteenPlaces {
    uint8_t (*q)[4 * kRows];  // [64 groups of 4 weights]
    int32_t *scale, *offset;  // kPanelRows from one to the next
    float *d, *e;

    void put(int group, __m512i x) const { _mm512_store_si512(q[group], x); }

    void put(const Headers<Format>& headers) const {
        _mm512_store_ps(d, headers.d);
        _mm512_store_ps(e, headers.e);
        for (int s = 0; s < Format::kSubs; ++s) {
            const __m512i four = headers.scales[s / 4];
            put_words(scale, s, Format::kZero ? spread_signed(four, s % 4, s % 4) : spread(four, s % 4, s % 4));
        }
        for (int s = 0; s < Format::kSubs; s += 2) {
            if constexpr (Format::kZero)
                put_words(offset, s / 2,
                          spread_signed<power_of(Format::kZero)>(headers.scales[s / 4], s % 4, s % 4 + 1));
            else
                put_words(offset, s / 2, spread(headers.minima[s / 4], s % 4, s % 4 + 1));
        }
    }

private:
    static void put_words(int32_t* to, int i, __m512i x) { _mm512_store_si512(to + i * kPanelRows, x); }
    static constexpr int power_of(int n) { return n > 1 ? 1 + power_of(n / 2) : 0; }
};

// unpack() of a format puts its weights to places, in 8 steps.
template <class Format>
struct Sixteen;

template <>
struct Sixteen<Q4K> {
    template <class To>
    static void unpack(const BlockRows& rows, const To& to, Ahead& ahead) {
        for (int part = 0; part < 8; ++part) {
            ahead.step();
            __m512i x[4];
            rows.four_words(16 + 16 * part, x);
            const int group = part / 2 * 16 + part % 2 * 4;
            for (int i = 0; i < 4; ++i) {
                to.put(group + i, and_all(x[i], 15));
                to.put(group + 8 + i, and_all(_mm512_srli_epi16(x[i], 4), 15));
            }
        }
    }
};

// To the left; to the right where N is negative.
template <int N>
inline __m512i shifted(__m512i x) {
    return N > 0 ? _mm512_slli_epi16(x, N > 0 ? N : 0) : _mm512_srli_epi16(x, N < 0 ? -N : 0);
}

template <>
struct Sixteen<Q5K> {
    template <class To>
    static void unpack(const BlockRows& rows, const To& to, Ahead& ahead) {
        for (int half = 0; half < 2; ++half) {  // of 32 weights
            __m512i high[4];
            rows.four_words(16 + 16 * half, high);
            ahead.steps(4);
            part<0>(rows, half, high, to);
            part<1>(rows, half, high, to);
            part<2>(rows, half, high, to);
            part<3>(rows, half, high, to);
        }
    }

private:
    template <int J, class To>
    static inline void part(const BlockRows& rows, int half, const __m512i high[4], const To& to) {
        __m512i x[4];
        rows.four_words(48 + 32 * J + 16 * half, x);
        const int group = 16 * J + 4 * half;
        for (int i = 0; i < 4; ++i) {
            to.put(group + i, or_masked(and_all(x[i], 15), shifted<4 - 2 * J>(high[i]), 16));
            to.put(group + 8 + i, or_masked(and_all(_mm512_srli_epi16(x[i], 4), 15), shifted<3 - 2 * J>(high[i]), 16));
        }
    }
};

template <>
struct Sixteen<Q6K> {
    template <class To>
    static void unpack(const BlockRows& rows, const To& to, Ahead& ahead) {
        for (int part = 0; part < 4; ++part) {  // of 16 weights, and of those 32, 64 and 96 behind them
            ahead.steps(2);
            const int half = part / 2, within = 16 * (part % 2);
            __m512i high[4], a[4], b[4];
            rows.four_words(128 + 32 * half + within, high);
            rows.four_words(64 * half + within, a);
            rows.four_words(64 * half + 32 + within, b);
            const int group = 32 * half + within / 4;
            for (int i = 0; i < 4; ++i) {
                to.put(group + i, or_masked(and_all(a[i], 15), shifted<4>(high[i]), 0x30));
                to.put(group + 8 + i, or_masked(and_all(b[i], 15), shifted<2>(high[i]), 0x30));
                to.put(group + 16 + i, or_masked(and_all(shifted<-4>(a[i]), 15), high[i], 0x30));
                to.put(group + 24 + i, or_masked(and_all(shifted<-4>(b[i]), 15), shifted<-2>(high[i]), 0x30));
            }
        }
    }
};

template <>
struct Sixteen<Q2K> {
    template <class To>
    static void unpack(const BlockRows& rows, const To& to, Ahead& ahead) {
        for (int part = 0; part < 4; ++part) {  // of 16 weights, and of those 32, 64 and 96 behind them
            ahead.steps(2);
            __m512i x[4];
            rows.four_words(16 + 16 * part, x);
            const int group = part / 2 * 32 + part % 2 * 4;
            for (int j = 0; j < 4; ++j)
                for (int i = 0; i < 4; ++i) to.put(group + 8 * j + i, and_all(_mm512_srli_epi16(x[i], 2 * j), 3));
        }
    }
};

template <>
struct Sixteen<Q3K> {
    template <class To>
    static void unpack(const BlockRows& rows, const To& to, Ahead& ahead) {
        for (int half = 0; half < 2; ++half) {  // of 32 weights
            __m512i high[4];
            rows.four_words(16 * half, high);
            ahead.steps(4);
            part<0>(rows, half, high, to);
            part<1>(rows, half, high, to);
        }
    }

private:
    template <int J, class To>
    static inline void part(const BlockRows& rows, int half, const __m512i high[4], const To& to) {
        __m512i x[4];
        rows.four_words(32 + 32 * J + 16 * half, x);
        const int group = 32 * J + 4 * half;
        for (int i = 0; i < 4; ++i) {
            to.put(group + i, or_masked(and_all(x[i], 3), shifted<2 - 4 * J>(high[i]), 4));
            to.put(group + 8 + i, or_masked(and_all(shifted<-2>(x[i]), 3), shifted<1 - 4 * J>(high[i]), 4));
            to.put(group + 16 + i, or_masked(and_all(shifted<-4>(x[i]), 3), shifted<-4 * J>(high[i]), 4));
            to.put(group + 24 + i, or_masked(and_all(shifted<-6>(x[i]), 3), shifted<-1 - 4 * J>(high[i]), 4));
        }
    }
};

template <>
struct Sixteen<IQ4XS> {
    template <class To>
    static void unpack(const BlockRows& rows, const To& to, Ahead& ahead) {
        const __m512i table = table_of(kWidening);
        for (int part = 0; part < 8; ++part) {
            ahead.step();
            __m512i x[4];
            rows.four_words(8 + 16 * part, x);
            for (int i = 0; i < 4; ++i) {
                to.put(8 * part + i, _mm512_shuffle_epi8(table, and_all(x[i], 15)));
                to.put(8 * part + 4 + i, _mm512_shuffle_epi8(table, and_all(shifted<-4>(x[i]), 15)));
            }
        }
    }
};

template <class Format, class To, class Panel>
inline void fill_sixteen(Panel& panel, const PanelRows& from, int row, int64_t block, Ahead& ahead) {
    const RowsOfPanel<Format::kBytes> held(from, row, block * Format::kBytes);
    const BlockRows rows = held.rows();
    const SixteenPlaces<Format> places{panel.q[row / kRows], &panel.scale[0][row], &panel.offset[0][row],
                                       panel.d + row, panel.e + row};
    places.put(Headers<Format>(rows));
    Sixteen<Format>::unpack(rows, To{places}, ahead);
}

template <class Format>
struct Filler<Format, kRows> {
    static constexpr int kStep = kRows;

    template <class Panel>
    static void fill(Panel& panel, const PanelRows& from, int row, int64_t block, Ahead& ahead) {
        fill_sixteen<Format, SixteenPlaces<Format>>(panel, from, row, block, ahead);
    }
};

}  // namespace
