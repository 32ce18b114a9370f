// Attention of a tile of queries, for vectors of any width. An instruction set says what one is.
//
// Scores and results are products of the same kind, c += a * b, with rows of a broadcast and rows
// of b in vectors: queries with turned keys, then weights with values. Every sum runs over its terms
// one by one in their order, those that are zero change nothing, so that a row gives the same
// whatever other rows are in its tile.
#pragma once

#include "cell_formats.h"
#include "exponential.h"

namespace {

using cama::AttentionKernel;
using cama::kSegmentBlocks;
using cama::kTileRows;
using cama::MaskRow;
using cama::padded;
using cama::row_floats;
using cama::State;
using cama::Tile;

constexpr float kInfinity = __builtin_inff();
constexpr uint64_t kAll = ~uint64_t{0};

// ---- products --------------------------------------------------------------------------------

// How many vectors of b meet R rows of a: their sums fill most registers.
template <class V, int R>
constexpr int vectors_of() {
    const int n = V::kRegisters * 3 / 4 / R;
    return n >= 8 ? 8 : n >= 4 ? 4 : 2;
}

struct Factor {
    const float* data;
    int stride;
};

template <class V, int R, int N, bool Adds>
inline void tile(Factor a, Factor b, int k, float* c, int stride) {
    typename V::Type sum[R][N];
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) sum[r][n] = Adds ? V::load(c + r * stride + n * V::kWidth) : V::all(0);
    for (int i = 0; i < k; ++i) {
        typename V::Type y[N];
        for (int n = 0; n < N; ++n) y[n] = V::load(b.data + static_cast<size_t>(i) * b.stride + n * V::kWidth);
        for (int r = 0; r < R; ++r) {
            const auto x = V::all(a.data[r * a.stride + i]);
            for (int n = 0; n < N; ++n) sum[r][n] = V::fma(x, y[n], sum[r][n]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int n = 0; n < N; ++n) V::store(c + r * stride + n * V::kWidth, sum[r][n]);
}

template <class V, int R, int N, bool Adds>
void strip(Factor a, Factor b, int k, float* c, int stride, int n_rows, int n_vectors) {
    int v = 0;
    for (; v + N <= n_vectors; v += N)
        for (int r = 0; r < n_rows; r += R)
            tile<V, R, N, Adds>({a.data + r * a.stride, a.stride}, {b.data + v * V::kWidth, b.stride}, k,
                                c + r * stride + v * V::kWidth, stride);
    if constexpr (N > 1)
        if (v < n_vectors)
            strip<V, R, N / 2, Adds>(a, {b.data + v * V::kWidth, b.stride}, k, c + v * V::kWidth, stride, n_rows,
                                     n_vectors - v);
}

template <class V, int R, bool Adds>
void rows(Factor a, Factor b, int k, float* c, int stride, int n_rows, int n_vectors) {
    const int whole = n_rows / R * R;
    if (whole) strip<V, R, vectors_of<V, R>(), Adds>(a, b, k, c, stride, whole, n_vectors);
    if constexpr (R > 1)
        if (whole < n_rows)
            rows<V, R - 1, Adds>({a.data + whole * a.stride, a.stride}, b, k, c + whole * stride, stride,
                                 n_rows - whole, n_vectors);
}

template <class V, bool Adds>
inline void multiply(Factor a, Factor b, int k, float* c, int stride, int n_rows, int n_vectors) {
    rows<V, 6, Adds>(a, b, k, c, stride, n_rows, n_vectors);
}

// ---- masks -----------------------------------------------------------------------------------

void survey(const uint16_t* mask, int64_t n_cells, uint64_t* allowed, uint8_t* plain) {
    const __m256i never = _mm256_set1_epi16(static_cast<int16_t>(0xfc00));  // -inf
    const __m256i sign = _mm256_set1_epi16(static_cast<int16_t>(0x8000));
    for (int64_t first = 0; first < n_cells; first += kBlockCells) {
        alignas(32) uint16_t rest[kBlockCells];
        const uint16_t* at = mask + first;
        if (n_cells - first < kBlockCells) {
            for (int i = 0; i < kBlockCells; ++i) rest[i] = first + i < n_cells ? at[i] : 0xfc00;
            at = rest;
        }
        uint64_t forbidden = 0;
        __m256i added = _mm256_setzero_si256();
        for (int i = 0; i < kBlockCells; i += 32) {
            const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i));
            const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i + 16));
            const __m256i no_x = _mm256_cmpeq_epi16(x, never), no_y = _mm256_cmpeq_epi16(y, never);
            const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(no_x, no_y), 0xd8);
            forbidden |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(both))) << i;
            added = _mm256_or_si256(added, _mm256_or_si256(_mm256_andnot_si256(no_x, x), _mm256_andnot_si256(no_y, y)));
        }
        *allowed++ = ~forbidden;
        *plain++ = static_cast<uint8_t>(_mm256_testz_si256(added, _mm256_andnot_si256(sign, never)) &&
                                        _mm256_testz_si256(added, _mm256_set1_epi16(0x3ff)));
    }
}

int64_t count(const uint64_t* a, const uint64_t* b, int64_t n_words) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_words; ++i) n += __builtin_popcountll(a[i] | b[i]);
    return n;
}

// The cells of a block that any row of the tile reads.
Block pick(const Tile& t, int64_t block) {
    uint64_t wanted = 0;
    const uint64_t* last = nullptr;
    for (int r = 0; r < t.n_rows; ++r) {
        if (t.mask[r].allowed == last) continue;
        last = t.mask[r].allowed;
        wanted |= last[block];
    }
    Block picked;
    picked.first = block * kBlockCells;
    picked.is_whole = wanted == kAll;
    picked.n = 0;
    for (; wanted; wanted &= wanted - 1) picked.place[picked.n++] = static_cast<uint8_t>(__builtin_ctzll(wanted));
    return picked;
}

// What of the picked cells a row may see: a bit for each of them.
inline uint64_t seen(const Block& block, uint64_t allowed) {
    if (block.is_whole) return allowed;
    uint64_t bits = 0;
    for (int i = 0; i < block.n; ++i) bits |= (allowed >> block.place[i] & 1) << i;
    return bits;
}

inline void load_added(const Block& block, const uint16_t* halves, float* added) {
    alignas(16) uint16_t picked[kBlockCells] = {};
    for (int i = 0; i < block.n; ++i) picked[i] = halves[block.first + block.place[i]];
    for (int i = 0; i < kBlockCells; i += 8)
        _mm256_storeu_ps(added + i, _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(picked + i))));
}

// ---- softmax ---------------------------------------------------------------------------------

struct Seen {
    uint64_t bits = 0;
    bool is_plain = true;
    alignas(64) float added[kBlockCells];
};

// The sum of n weights, each added where its cell is in the whole block.
template <class V>
inline float sum_in_place(const Block& block, const float* weights) {
    alignas(64) float spread[kBlockCells];
    if (!block.is_whole) {
        for (int i = 0; i < kBlockCells; ++i) spread[i] = 0;
        for (int i = 0; i < block.n; ++i) spread[block.place[i]] = weights[i];
        weights = spread;
    }
    auto sum = V::load(weights);
    for (int i = V::kWidth; i < kBlockCells; i += V::kWidth) sum = V::add(sum, V::load(weights + i));
    return V::total(sum);
}

// Scores of a row to weights, e to the power of what they are below the greatest so far.
template <class V>
inline void weigh(const Tile& t, const Block& block, const Seen& seen, int r, float* scores, const State& s) {
    constexpr int kLanes = V::kWidth;
    const bool is_partial = seen.bits != kAll;
    const auto bits = [&](int i) { return static_cast<uint32_t>(seen.bits >> i); };
    auto greatest = V::all(-kInfinity);
    for (int i = 0; i < block.n; i += kLanes) {
        auto x = V::load(scores + i);
        if (t.cap != 0) x = V::mul(V::all(t.cap), hyperbolic_tangent<V>(x));
        if (!seen.is_plain) x = V::fma(V::all(t.slope[r]), V::load(seen.added + i), x);
        if (is_partial) x = V::choose(bits(i), x, V::all(-kInfinity));
        greatest = V::max(x, greatest);
        V::store(scores + i, x);
    }
    const float found = V::greatest(greatest);
    if (found > s.max[r]) {
        const float less = exponential<V>(s.max[r] - found);
        float* out = s.out + r * row_floats(t.n_value);
        for (int i = 0; i < t.n_value; i += kLanes) V::store(out + i, V::mul(V::load(out + i), V::all(less)));
        s.sum[r] *= less;
        s.max[r] = found;
    }
    const auto max = V::all(s.max[r]);
    for (int i = 0; i < block.n; i += kLanes) {
        auto x = exponential<V>(V::sub(V::load(scores + i), max));
        if (is_partial) x = V::choose(bits(i), x, V::all(0));
        V::store(scores + i, x);
    }
    s.sum[r] += sum_in_place<V>(block, scores);
}

// All rows; true where each of them sees all of the block.
template <class V>
bool weigh(const Tile& t, const Block& block, float* scores, const State& s) {
    const uint64_t* last = nullptr;
    const int64_t b = block.first / kBlockCells;
    const uint64_t all = block.n == kBlockCells ? kAll : (uint64_t{1} << block.n) - 1;
    bool is_open = true;
    Seen own;
    for (int r = 0; r < t.n_rows; ++r, scores += kBlockCells) {
        const MaskRow& mask = t.mask[r];
        if (mask.allowed != last) {
            last = mask.allowed;
            own.bits = seen(block, last[b]);
            own.is_plain = mask.plain[b];
            is_open = is_open && own.bits == all;
            if (!own.is_plain) load_added(block, mask.added, own.added);
        }
        if (own.bits)
            weigh<V>(t, block, own, r, scores, s);
        else
            for (int i = 0; i < block.n; i += V::kWidth) V::store(scores + i, V::all(0));
    }
    return is_open;
}

// ---- a tile ----------------------------------------------------------------------------------

struct Scratch {
    float *q, *keys, *values, *scores;
    int q_stride, value_stride;

    Scratch(const Tile& t, float* memory)
        : q(memory), q_stride(static_cast<int>(padded(t.n_key))),
          value_stride(static_cast<int>(row_floats(t.n_value))) {
        scores = q + t.n_rows * q_stride;
        keys = scores + t.n_rows * kBlockCells;
        values = keys + t.n_key * kKeyStride;
    }
};

void begin(const Tile& t, float* memory) {
    const Scratch scratch(t, memory);
    for (int r = 0; r < t.n_rows; ++r)
        for (int i = 0; i < t.n_key; ++i) scratch.q[r * scratch.q_stride + i] = t.q[r][i] * t.factor;
}

// Values that are no numbers stay with the rows that see their cells.
template <class V>
void add_values_seen(const Tile& t, const Block& block, const Scratch& scratch, float* out, int n_vectors) {
    const int stride = static_cast<int>(row_floats(t.n_value));
    for (int r = 0; r < t.n_rows; ++r)
        for (int i = 0; i < block.n; ++i)
            if (t.mask[r].allowed[block.first / kBlockCells] >> block.place[i] & 1)
                multiply<V, true>({scratch.scores + r * kBlockCells + i, kBlockCells},
                                  {scratch.values + i * scratch.value_stride, scratch.value_stride}, 1,
                                  out + r * stride, stride, 1, n_vectors);
}

template <class V>
void attend(const Tile& t, int64_t first_block, int64_t n_blocks, float* memory, const State& s) {
    const Scratch scratch(t, memory);
    const int stride = static_cast<int>(row_floats(t.n_value));
    const int value_vectors = (t.n_value + V::kWidth - 1) / V::kWidth;
    for (int r = 0; r < t.n_rows; ++r) {
        s.max[r] = -kInfinity;
        s.sum[r] = 0;
    }
    std::memset(s.out, 0, sizeof(float) * stride * t.n_rows);
    Block block, next = pick(t, first_block);
    for (int64_t b = first_block; b < first_block + n_blocks; ++b) {
        block = next;
        next.n = 0;
        if (b + 1 < first_block + n_blocks) next = pick(t, b + 1);
        if (!block.n) continue;
        t.key_format->keys(t.keys, t.n_key, block, next, scratch.keys);
        multiply<V, false>({scratch.q, scratch.q_stride}, {scratch.keys, kKeyStride}, t.n_key, scratch.scores,
                           kBlockCells, t.n_rows, (block.n + V::kWidth - 1) / V::kWidth);
        const bool is_open = weigh<V>(t, block, scratch.scores, s);
        const bool is_finite = t.value_format->values(t.values, t.n_value, block, next, scratch.values,
                                                      scratch.value_stride);
        if (is_open || is_finite)
            multiply<V, true>({scratch.scores, kBlockCells}, {scratch.values, scratch.value_stride}, block.n, s.out,
                              stride, t.n_rows, value_vectors);
        else
            add_values_seen<V>(t, block, scratch, s.out, value_vectors);
    }
}

// A row of `total` and one of `part`, so that both have the same greatest score.
template <class V>
void merge(const Tile& t, const State& total, const State& part) {
    const size_t stride = row_floats(t.n_value);
    for (int r = 0; r < t.n_rows; ++r) {
        if (part.sum[r] == 0) continue;  // it saw nothing
        const float max = part.max[r] > total.max[r] ? part.max[r] : total.max[r];
        const float old = exponential<V>(total.max[r] - max), more = exponential<V>(part.max[r] - max);
        float* out = total.out + r * stride;
        const float* from = part.out + r * stride;
        for (int i = 0; i < t.n_value; i += V::kWidth) {
            const auto added = V::mul(V::load(from + i), V::all(more));
            V::store(out + i, V::fma(V::load(out + i), V::all(old), added));
        }
        total.sum[r] = total.sum[r] * old + part.sum[r] * more;
        total.max[r] = max;
    }
}

template <class V>
void finish(const Tile& t, const State& s) {
    const size_t stride = row_floats(t.n_value);
    for (int r = 0; r < t.n_rows; ++r) {
        float sum = s.sum[r], scale = 1;
        if (t.sink[r]) {
            const float sink = *t.sink[r];
            if (sink > s.max[r]) {
                scale = exponential<V>(s.max[r] - sink);
                sum = sum * scale + 1;
            } else {
                sum += exponential<V>(sink - s.max[r]);
            }
        }
        scale = sum == 0 ? 0 : scale / sum;  // zeros where all is forbidden
        const float* out = s.out + r * stride;
        for (int i = 0; i < t.n_value; ++i) t.y[r][i] = out[i] * scale;
    }
}

constexpr CellFormat kNoFormat = {-1, 0, nullptr, nullptr};

template <class V>
constexpr AttentionKernel attention(const CellFormat* formats) {
    return {formats, survey, count, begin, attend<V>, merge<V>, finish<V>};
}

}  // namespace
