// Tiles that are summed up a block of weights at a time: 32, or 16 as some K-quants have them.
//
// Sums of a block become floats some blocks later: they take long to be ready, and tiles and vectors
// work side by side. As many columns as a tile may have are computed, even if some are missing: there
// is memory behind the last one.
#pragma once

#include <type_traits>

#include "amx_tasks.h"

namespace {

constexpr int kLag = 3;  // blocks

// What is between two tasks.
struct AmxSums {
    int32_t of_blocks[kLag + 1][kTile][kLanes];
    __m512 totals[kTile];
};

// K-quants: a scale for a sub-block, and what follows for all 256 weights.
template <class Format>
struct AmxSubBlocks {
    using Vectors = SuperTiles<Vnni16, Format>;
    static constexpr int kWeights = kBlock / Format::kSubs, kBytes = Format::kBytes;
    static constexpr bool kIsSigned = false;

    struct Panel : SuperPanel<kLanes>, AmxSums {};

    static void fill(Panel& panel, const PanelRows& from, int64_t block, int n_blocks, Ahead& ahead) {
        Vectors::fill(panel, from, block, n_blocks, ahead);
    }

    static inline void begin(const Task&, __m512 totals[kTile]) {
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) totals[c] = _mm512_setzero_ps();
    }

    static inline void add(const Panel& panel, const Task& task, int j, __m512 totals[kTile]) {
        const __m512 scale = _mm512_load_ps(reinterpret_cast<const float*>(&panel.scale[j][task.v * kLanes]));
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) {
            const __m512 sum = _mm512_cvtepi32_ps(load(panel.of_blocks[j % (kLag + 1)][c]));
            totals[c] = _mm512_fmadd_ps(sum, scale, totals[c]);
        }
    }

    static inline void end(const Panel& panel, const Task& task, const __m512 totals[kTile]) {
        const auto* columns = reinterpret_cast<const SuperColumn*>(task.x);
        const int row = task.v * kLanes;
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c)
            Vectors::add(panel, row, columns[c], totals[c], task.out - row + c * kPanelRows);
    }
};

// Blocks of 32: a scale for 32 activations. Behind the last one are blocks of nothing.
template <class Format>
struct AmxBlocks {
    static constexpr int kWeights = 32, kBytes = 8 * Format::kBytes;
    static constexpr bool kIsSigned = true;

    struct Panel : BlockPanel<kLanes>, AmxSums {};  // of signed bytes where there is a zero to take away

    static void fill(Panel& panel, const PanelRows& from, int64_t block, int n_blocks, Ahead& ahead) {
        fill_blocks<SixteenBlocksFiller<Format, true>>(panel, from, block, n_blocks, ahead);
        for (int v = 0; v * kLanes < from.n; ++v)
            std::memset(panel.q[v][8 * n_blocks], 0, static_cast<size_t>(8 - n_blocks) * 8 * 4 * kLanes);
        for (int j = n_blocks; j < 8; ++j) {
            std::memset(panel.scale[j], 0, sizeof panel.scale[j]);
            std::memset(panel.offset[j], 0, sizeof panel.offset[j]);
        }
    }

    static inline void begin(const Task& task, __m512 results[kTile]) {
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) results[c] = _mm512_load_ps(task.out + c * kPanelRows);
    }

    static inline void add(const Panel& panel, const Task& task, int j, __m512 results[kTile]) {
        const auto* columns = reinterpret_cast<const BlockColumn*>(task.x);
        const __m512 scale = _mm512_load_ps(&panel.scale[j][task.v * kLanes]);
        const __m512 offset = _mm512_load_ps(&panel.offset[j][task.v * kLanes]);
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) {
            const __m512 sum = _mm512_cvtepi32_ps(load(panel.of_blocks[j % (kLag + 1)][c]));
            results[c] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, _mm512_set1_ps(columns[c].d[j])), results[c]);
            if constexpr (!Format::kZero) {
                const __m512 s = _mm512_set1_ps(columns[c].d[j] * static_cast<float>(columns[c].sum[j]));
                results[c] = _mm512_fmadd_ps(offset, s, results[c]);
            }
        }
    }

    static inline void end(const Panel&, const Task& task, const __m512 results[kTile]) {
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) _mm512_store_ps(task.out + c * kPanelRows, results[c]);
    }
};

// By either.
template <class Kind>
class AmxByBlocks {
public:
    using Panel = typename Kind::Panel;
    static constexpr int kColumns = kTile, kBytes = Kind::kBytes, kSteps = kBlock / Kind::kWeights;
    static constexpr auto fill = Kind::fill;

    static void configure_for(int n_columns) { configure(n_columns, n_columns, Kind::kWeights); }

    explicit AmxByBlocks(Panel& panel) : panel_(panel) {}

    void run(const Task& task, Ahead& ahead) {
        __m512 totals[kTile];
        load_totals(totals);
        step<0>(task, totals, ahead);
        before_ = task;
        save_totals(totals);
    }

    void finish() {
        __m512 totals[kTile];
        load_totals(totals);
        for (int j = kSteps - kLag; j < kSteps; ++j) Kind::add(panel_, before_, j, totals);
        Kind::end(panel_, before_, totals);
    }

private:
    template <int J>
    inline void step(const Task& task, __m512 totals[kTile], Ahead& ahead) {
        if constexpr (J < kSteps) {
            sum_up<J>(task);
            ahead.step();
            if constexpr (J >= kLag)
                Kind::add(panel_, task, J - kLag, totals);
            else if (before_.n_columns)
                Kind::add(panel_, before_, kSteps - kLag + J, totals);
            if constexpr (J == kLag - 1) {
                if (before_.n_columns) Kind::end(panel_, before_, totals);
                Kind::begin(task, totals);
            }
            step<J + 1>(task, totals, ahead);
        }
    }

    template <int J>
    inline void sum_up(const Task& task) {
        constexpr int kSum = J % 4, kA = 4 + J % 2, kB = 6 + J % 2;
        tile_zero<kSum>();
        tile_load<kB>(panel_.q[task.v][J * Kind::kWeights / 4], 4 * kLanes);
        tile_load<kA>(task.x + J * Kind::kWeights, kColumnBytes);
        if constexpr (Kind::kIsSigned)
            tile_multiply<kSum, kA, kB>();
        else
            tile_multiply_unsigned<kSum, kA, kB>();
        tile_store<kSum>(panel_.of_blocks[J % (kLag + 1)], 4 * kLanes);
    }

    void load_totals(__m512 totals[kTile]) const {
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) totals[c] = panel_.totals[c];
    }

    void save_totals(const __m512 totals[kTile]) {
#pragma GCC unroll 16
        for (int c = 0; c < kTile; ++c) panel_.totals[c] = totals[c];
    }

    Panel& panel_;
    Task before_{0, 0, nullptr, nullptr};  // nothing
};

}  // namespace
