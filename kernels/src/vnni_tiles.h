// Tiles for VNNI: one instruction multiplies the bytes of a vector and sums them by fours in 32 bits.
//
// A panel holds 64 rows of 256 weights as vectors of some rows by 4 consecutive weights; a broadcast
// of 4 activations multiplies all of them. Sums of a sub-block become floats with its scale. V has
// the instructions.
#pragma once

#include "panels.h"

namespace {

template <int Lanes>
struct alignas(64) SuperPanel {
    uint8_t q[kPanelRows / Lanes][kGroups][4 * Lanes];
    int32_t scale[16][kPanelRows];  // per sub-block, twice in 16 bits; a float once it is filled
    int32_t offset[8][kPanelRows];  // of two sub-blocks, in 16 bits each
    float d[kPanelRows], e[kPanelRows];
};

template <int Lanes>
struct alignas(64) BlockPanel {
    uint8_t q[kPanelRows / Lanes][kGroups][4 * Lanes];
    float scale[8][kPanelRows], offset[8][kPanelRows];
};

// Four bytes, activations or sums of them, for every row.
template <class V>
inline typename V::Integers four(const void* q) {
    int32_t x;
    std::memcpy(&x, q, 4);
    return V::all_integers(x);
}

// Registers hold two vectors of sums for each column, beside two of weights and one of activations.
template <class V>
constexpr int kColumnsOf = V::kRegisters == 32 ? 6 : 4;

// K-quants: one scale for 256 activations.
template <class V, class Format>
struct SuperTiles {
    using Type = typename V::Type;
    using Integers = typename V::Integers;
    static constexpr int kLanes = V::kWidth, kColumns = kColumnsOf<V>, kMultiple = kBlock;
    static constexpr int kBytes = Format::kBytes, kSteps = Format::kSubs;
    static constexpr auto kQuantize = quantize_super;
    using Panel = SuperPanel<kLanes>;

    static void fill(Panel& panel, const PanelRows& from, int64_t block, int, Ahead& ahead) {
        fill_super<Format, kLanes>(panel, from, block, ahead);
        for (int s = 0; s < Format::kSubs; ++s)
            for (int32_t* at = panel.scale[s]; at < panel.scale[s] + from.n; at += kLanes)
                V::store(reinterpret_cast<float*>(at), V::to_floats(V::high_words(V::load_integers(at))));
    }

    template <int C>
    static inline void run(const Panel& panel, int, int v, const uint8_t* x, float* out, Ahead& ahead) {
        constexpr int kPerSub = kGroups / Format::kSubs;
        const auto* columns = reinterpret_cast<const SuperColumn*>(x);
        const uint8_t *a = panel.q[v][0], *b = panel.q[v + 1][0];
        const int row = v * kLanes;
        Type total[2][C];
        for (int c = 0; c < C; ++c) total[0][c] = total[1][c] = V::all(0);
        for (int s = 0; s < Format::kSubs; ++s) {
            ahead.step();
            Integers sum[2][C];
            for (int c = 0; c < C; ++c) sum[0][c] = sum[1][c] = V::all_integers(0);
            const int first = s * kPerSub;
#pragma GCC unroll 8
            for (int i = 0; i < kPerSub; ++i) {
                const int g = first + i;
                const Integers w0 = V::load_integers(a + 4 * kLanes * g), w1 = V::load_integers(b + 4 * kLanes * g);
#pragma GCC unroll 6
                for (int c = 0; c < C; ++c) {
                    const Integers y = four<V>(columns[c].q + 4 * g);
                    sum[0][c] = V::add_bytes(sum[0][c], w0, y);
                    sum[1][c] = V::add_bytes(sum[1][c], w1, y);
                }
            }
            const Type scale0 = V::load(reinterpret_cast<const float*>(&panel.scale[s][row]));
            const Type scale1 = V::load(reinterpret_cast<const float*>(&panel.scale[s][row + kLanes]));
            for (int c = 0; c < C; ++c) {
                total[0][c] = V::fma(V::to_floats(sum[0][c]), scale0, total[0][c]);
                total[1][c] = V::fma(V::to_floats(sum[1][c]), scale1, total[1][c]);
            }
        }
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 2; ++i) add(panel, row + i * kLanes, columns[c], total[i][c], out + c * kPanelRows);
    }

    // To the results of a column for the rows of a vector, from their sums with scales.
    static inline void add(const Panel& panel, int row, const SuperColumn& column, Type total, float* out) {
        const int16_t* sums = Format::kSubs == 16 ? column.sum16 : column.sum32;
        Integers less = V::all_integers(0);
        for (int j = 0; j < Format::kSubs / 2; ++j)
            less = V::add_words(less, V::load_integers(&panel.offset[j][row]), four<V>(sums + 2 * j));
        const Type d = V::load(panel.d + row), minus = V::to_floats(less);
        Type sum;
        if constexpr (Format::kZero)
            sum = V::mul(V::sub(total, minus), d);
        else
            sum = V::fnma(minus, V::load(panel.e + row), V::mul(total, d));
        V::store(out + row, V::fma(sum, V::all(column.d), V::load(out + row)));
    }
};

// Blocks of 32: a scale for 32 activations.
template <class V, class Format>
struct BlockTiles {
    using Type = typename V::Type;
    using Integers = typename V::Integers;
    static constexpr int kLanes = V::kWidth, kColumns = kColumnsOf<V>, kMultiple = 32;
    static constexpr int kBytes = 8 * Format::kBytes, kSteps = 8;
    static constexpr auto kQuantize = quantize_blocks;
    using Panel = BlockPanel<kLanes>;

    static void fill(Panel& panel, const PanelRows& from, int64_t block, int n_blocks, Ahead& ahead) {
        fill_blocks<BlockFiller<Format, kLanes>>(panel, from, block, n_blocks, ahead);
    }

    template <int C>
    static inline void run(const Panel& panel, int n_blocks, int v, const uint8_t* x, float* out, Ahead& ahead) {
        const BlockColumn* columns = reinterpret_cast<const BlockColumn*>(x);
        const int row = v * kLanes;
        Type result[2][C];
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 2; ++i) result[i][c] = V::load(out + c * kPanelRows + row + i * kLanes);
        for (int j = 0; j < n_blocks; ++j) {
            ahead.step();
            Integers sum[2][C];
            for (int c = 0; c < C; ++c) sum[0][c] = sum[1][c] = V::all_integers(-Format::kZero * columns[c].sum[j]);
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                const int g = 8 * j + i;
                const Integers w0 = V::load_integers(panel.q[v][g]), w1 = V::load_integers(panel.q[v + 1][g]);
#pragma GCC unroll 6
                for (int c = 0; c < C; ++c) {
                    const Integers y = four<V>(columns[c].q + 4 * g);
                    sum[0][c] = V::add_bytes(sum[0][c], w0, y);
                    sum[1][c] = V::add_bytes(sum[1][c], w1, y);
                }
            }
            for (int c = 0; c < C; ++c) {
                const Type d = V::all(columns[c].d[j]);
                for (int i = 0; i < 2; ++i) {
                    const int at = row + i * kLanes;
                    const Type scale = V::mul(V::load(&panel.scale[j][at]), d);
                    result[i][c] = V::fma(V::to_floats(sum[i][c]), scale, result[i][c]);
                    if constexpr (!Format::kZero) {
                        const Type s = V::all(columns[c].d[j] * static_cast<float>(columns[c].sum[j]));
                        result[i][c] = V::fma(V::load(&panel.offset[j][at]), s, result[i][c]);
                    }
                }
            }
        }
        for (int c = 0; c < C; ++c)
            for (int i = 0; i < 2; ++i) V::store(out + c * kPanelRows + row + i * kLanes, result[i][c]);
    }
};

}  // namespace
