// For AVX2, which every set of kernels needs: whoever asks looks first whether there is one. What the
// standard library is asked to do is done on types of this file, so no other file gets its code.
#include "logits.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "eight_floats.h"

namespace {

constexpr int64_t kBlock = 1024;  // logits of which the highest is found before where it is
constexpr int64_t kSpare = 1024;  // kept beside k before the least of them are given up
constexpr float kNothing = -INFINITY;

bool is_allowed(const uint8_t* allowed, int64_t i) { return !allowed || (allowed[i / 8] >> (i % 8) & 1); }

// Eight logits from i on, a multiple of 8; what is not allowed is minus infinity.
inline __m256 masked(const float* x, int64_t i, const uint8_t* allowed) {
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i is_set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(allowed[i / 8]), each), each);
    return _mm256_blendv_ps(_mm256_set1_ps(kNothing), _mm256_loadu_ps(x + i), _mm256_castsi256_ps(is_set));
}

int64_t first_nan(const float* x, int64_t from, int64_t end, const uint8_t* allowed) {
    for (int64_t i = from; i < end; ++i)
        if (std::isnan(x[i]) && is_allowed(allowed, i)) return i;
    return -1;
}

template <bool IsMasked>
int64_t argmax(const float* x, int64_t n, const uint8_t* allowed) {
    float best = kNothing;
    int64_t found = -1, start = 0;
    for (; start + kBlock <= n; start += kBlock) {
        __m256 most[4], unordered = _mm256_setzero_ps();
        for (auto& m : most) m = _mm256_set1_ps(kNothing);
        for (int64_t i = start; i < start + kBlock; i += 32)
            for (int j = 0; j < 4; ++j) {
                __m256 v;
                if constexpr (IsMasked)
                    v = masked(x, i + 8 * j, allowed);
                else
                    v = _mm256_loadu_ps(x + i + 8 * j);
                most[j] = _mm256_max_ps(v, most[j]);  // the second where the first is no number
                unordered = _mm256_or_ps(unordered, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
            }
        if (_mm256_movemask_ps(unordered)) return first_nan(x, start, start + kBlock, allowed);
        const __m256 all = _mm256_max_ps(_mm256_max_ps(most[0], most[1]), _mm256_max_ps(most[2], most[3]));
        if (const float here = greatest_of(all); here > best) {
            best = here;
            found = start;
        }
    }
    for (int64_t i = start; i < n; ++i) {
        if (!is_allowed(allowed, i)) continue;
        if (std::isnan(x[i])) return i;
        if (x[i] > best) {
            best = x[i];
            found = i;
        }
    }
    if (found < 0) return -1;
    while (x[found] != best || !is_allowed(allowed, found)) ++found;
    return found;
}

// Its order is that of logits, best first, and of equals by place.
struct Key {
    uint64_t value;

    Key() = default;
    Key(float x, int64_t place) {
        const float number = x + 0.0f;  // there are two zeros
        uint32_t bits;
        std::memcpy(&bits, &number, sizeof bits);
        const uint32_t rising = bits >> 31 ? ~bits : bits | 0x80000000u;
        value = static_cast<uint64_t>(~rising) << 32 | static_cast<uint64_t>(place);
    }

    bool operator<(const Key& other) const { return value < other.value; }
    int64_t place() const { return static_cast<int64_t>(value & 0xffffffffu); }
};

// Sorts keys that lie in the order of their places; there is room for as many behind them.
void sort_by_radix(Key* keys, int64_t n) {
    constexpr int kBits = 11, kPasses = 3;
    int64_t starts[1 << kBits];
    Key *from = keys, *to = keys + n;
    for (int pass = 0; pass < kPasses; ++pass) {
        const auto digit = [pass](Key key) { return key.value >> 32 >> (kBits * pass) & ((1 << kBits) - 1); };
        std::memset(starts, 0, sizeof starts);
        for (int64_t i = 0; i < n; ++i) ++starts[digit(from[i])];
        int64_t sum = 0;
        for (auto& start : starts) {
            const int64_t count = start;
            start = sum;
            sum += count;
        }
        for (int64_t i = 0; i < n; ++i) to[starts[digit(from[i])]++] = from[i];
        std::swap(from, to);
    }
    if (from != keys) std::memcpy(keys, from, sizeof(Key) * n);
}

// The best k of a row. Those found so far are kept, and now and then all but the best k given up:
// the last of these is what others must exceed. An equal one that comes later does not.
struct Selection {
    const float* x;
    int64_t k, size;
    Key* keys;
    int64_t n = 0, nan = -1;
    float bound = kNothing;

    void add(int64_t i) {
        if (std::isnan(x[i])) {
            if (nan < 0) nan = i;
            return;
        }
        if (!(x[i] > bound)) return;
        keys[n++] = Key(x[i], i);
        if (n == size && k < size) {
            std::nth_element(keys, keys + k - 1, keys + n);
            n = k;
            bound = x[keys[k - 1].place()];
        }
    }

    // Eight logits at a time: as a rule none of 32 is good enough.
    void add_all(int64_t n_logits) {
        int64_t i = 0;
        for (; i + 32 <= n_logits && nan < 0; i += 32) {
            const __m256 least = _mm256_set1_ps(bound);
            uint32_t chosen = 0;
            for (int j = 0; j < 4; ++j) {
                const __m256 is_more = _mm256_cmp_ps(_mm256_loadu_ps(x + i + 8 * j), least, _CMP_NLE_UQ);
                chosen |= static_cast<uint32_t>(_mm256_movemask_ps(is_more)) << (8 * j);
            }
            for (; chosen; chosen &= chosen - 1) add(i + __builtin_ctz(chosen));
        }
        for (; i < n_logits && nan < 0; ++i) add(i);
    }
};

// e^x for x <= 0 within 2 units of the last place, 0 where that is no normal number. The polynomial
// is that of Cephes (expf).
inline __m256 exp_of(__m256 x) {
    const __m256 least = _mm256_set1_ps(-87.33654f);
    const __m256 is_none = _mm256_cmp_ps(x, least, _CMP_LT_OQ);
    x = _mm256_max_ps(least, x);  // the second where that is no number
    const __m256 twos = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
    __m256 r = _mm256_fnmadd_ps(twos, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fnmadd_ps(twos, _mm256_set1_ps(-2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(c));
    p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1));
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(twos), _mm256_set1_epi32(127));
    const __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    return _mm256_andnot_ps(is_none, _mm256_mul_ps(p, power));
}

inline void add_wide(__m256 v, __m256d& low, __m256d& high) {
    low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
    high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
}

}  // namespace

int64_t cama_argmax(const float* x, int64_t n, const uint8_t* allowed) {
    return allowed ? argmax<true>(x, n, allowed) : argmax<false>(x, n, nullptr);
}

int64_t cama_top_k(const float* x, int64_t n, int64_t k, int64_t* places, float* values) {
    if (n <= 0 || k <= 0) return 0;
    k = std::min(k, n);
    const bool are_many = k > n / 8;
    const int64_t size = are_many ? n : std::min(n, 2 * k + kSpare);
    const std::unique_ptr<Key[]> keys(new (std::nothrow) Key[are_many ? 2 * n : size]);
    if (!keys) return -1;
    Selection chosen{x, k, size, keys.get()};
    if (are_many) chosen.k = size;  // none is given up: their order is that of their places
    chosen.add_all(n);
    if (chosen.nan >= 0) {
        *places = chosen.nan;
        *values = x[chosen.nan];
        return 1;
    }
    Key *first = keys.get(), *end = first + chosen.n;
    k = std::min(k, chosen.n);
    if (are_many && chosen.n > kSpare) {
        sort_by_radix(first, chosen.n);
    } else {
        if (chosen.n > k) std::nth_element(first, first + k, end);
        std::sort(first, first + k);
    }
    for (int64_t i = 0; i < k; ++i) values[i] = x[places[i] = first[i].place()];
    return k;
}

double cama_sum_exp(const float* x, int64_t n, float highest) {
    const __m256 shift = _mm256_set1_ps(highest);
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) add_wide(exp_of(_mm256_sub_ps(_mm256_loadu_ps(x + i), shift)), low, high);
    if (i < n) {
        alignas(32) float rest[8];
        for (int64_t j = 0; j < 8; ++j) rest[j] = i + j < n ? x[i + j] : kNothing;
        add_wide(exp_of(_mm256_sub_ps(_mm256_load_ps(rest), shift)), low, high);
    }
    alignas(32) double sums[4];
    _mm256_store_pd(sums, _mm256_add_pd(low, high));
    return sums[0] + sums[1] + sums[2] + sums[3];
}

void cama_mask(const float* x, int64_t n, const uint8_t* allowed, float* out) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, masked(x, i, allowed));
    for (; i < n; ++i) out[i] = is_allowed(allowed, i) ? x[i] : kNothing;
}
