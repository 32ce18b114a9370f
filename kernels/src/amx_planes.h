// Tiles for many columns of K-quants.
#pragma once

#include "amx_tasks.h"

namespace {

// K-quants. A weight times the scale of its sub-block has up to 16 bits: the low byte is in one
// plane, the high one, signed, in another. Only sums of whole blocks become floats, while the tiles
// sum up what the next task needs.
template <class Format>
class AmxPlanes {
public:
    static constexpr int kColumns = 2 * kTile, kBytes = Format::kBytes, kSteps = kGroups / kTile;

    struct alignas(64) Panel {
        uint8_t q[kVectors][kGroups][4 * kLanes];  // low bytes, once scales are in
        uint8_t high[kVectors][kGroups][4 * kLanes];
        int32_t scale[16][kPanelRows];  // per sub-block, twice in 16 bits
        int32_t offset[8][kPanelRows];  // of two sub-blocks, in 16 bits each
        float d[kPanelRows], e[kPanelRows];
        struct Sums {
            int32_t low[kColumns][kLanes], high[kColumns][kLanes];
        } sums[2];
    };

    static void fill(Panel& panel, const PanelRows& from, int64_t block, int, Ahead& ahead) {
        for (int row = 0; row < from.n; row += kRows) fill_sixteen<Format, Planes>(panel, from, row, block, ahead);
    }

    static void configure_for(int n_columns) {
        configure(std::min(n_columns, kTile), std::max(n_columns - kTile, 1), 64);
    }

    explicit AmxPlanes(Panel& panel) : panel_(panel) {}

    void run(const Task& task, Ahead& ahead) {
        const bool is_pair = task.n_columns > kTile;
        const Results results(panel_.sums[turn_], panel_, before_);
        turn_ = 1 - turn_;
        auto& sums = panel_.sums[turn_];
        tile_zero<0>();
        tile_zero<1>();
        tile_zero<2>();
        tile_zero<3>();
        for (int g = 0, c = 0; g < kGroups; g += kTile, c += kColumns / 4) {
            tile_load<6>(panel_.q[task.v][g], 4 * kLanes);
            tile_load<7>(panel_.high[task.v][g], 4 * kLanes);
            tile_load<4>(task.x + 4 * g, kColumnBytes);
            tile_multiply_unsigned<0, 4, 6>();
            tile_multiply<1, 4, 7>();
            if (is_pair) {
                tile_load<5>(task.x + kTile * kColumnBytes + 4 * g, kColumnBytes);
                tile_multiply_unsigned<2, 5, 6>();
                tile_multiply<3, 5, 7>();
            }
            ahead.step();
            results.finish(c, std::min(c + kColumns / 4, before_.n_columns));
        }
        tile_store<0>(sums.low, 4 * kLanes);
        tile_store<1>(sums.high, 4 * kLanes);
        if (is_pair) {
            tile_store<2>(sums.low[kTile], 4 * kLanes);
            tile_store<3>(sums.high[kTile], 4 * kLanes);
        }
        before_ = task;
    }

    void finish() { Results(panel_.sums[turn_], panel_, before_).finish(0, before_.n_columns); }

private:
    // Multiplies weights with their scales, which are there already.
    struct Planes {
        SixteenPlaces<Format> places;

        void put(int group, __m512i q) const {
            constexpr int kPerSub = kGroups / Format::kSubs;
            const __m512i low = _mm512_set1_epi16(0xff), zero = _mm512_set1_epi16(Format::kZero);
            const __m512i scale = load(places.scale + group / kPerSub * kPanelRows);
            const __m512i even = _mm512_sub_epi16(_mm512_and_si512(q, low), zero);
            const __m512i odd = _mm512_sub_epi16(_mm512_srli_epi16(q, 8), zero);
            const __m512i a = _mm512_mullo_epi16(even, scale), b = _mm512_mullo_epi16(odd, scale);
            constexpr int kPick = 0xca;  // of the second where the first is set, else of the third
            const __m512i high = _mm512_ternarylogic_epi32(low, _mm512_srli_epi16(a, 8), b, kPick);
            places.put(group, _mm512_ternarylogic_epi32(low, a, _mm512_slli_epi16(b, 8), kPick));
            _mm512_store_si512(places.q[kVectors * kGroups + group], high);  // of the plane behind
        }
    };

    struct Results {
        static constexpr int kMinima = Format::kZero ? 0 : Format::kSubs / 2;
        const typename Panel::Sums& sums;
        const SuperColumn* columns;
        float* out;
        __m512 d, e;
        __m512i minima[kMinima + 1];

        Results(const typename Panel::Sums& sums, const Panel& panel, const Task& task)
            : sums(sums), columns(reinterpret_cast<const SuperColumn*>(task.x)), out(task.out) {
            const int row = task.v * kLanes;
            d = _mm512_load_ps(panel.d + row);
            e = _mm512_load_ps(panel.e + row);
            for (int j = 0; j < kMinima; ++j) minima[j] = load(&panel.offset[j][row]);
        }

        void finish(int first, int end) const {
            for (int c = first; c < end; ++c) {
                const __m512i total = _mm512_add_epi32(load(sums.low[c]), _mm512_slli_epi32(load(sums.high[c]), 8));
                __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(total), d);
                if constexpr (kMinima > 0) {
                    const int16_t* of_column = Format::kSubs == 16 ? columns[c].sum16 : columns[c].sum32;
                    __m512i less = _mm512_setzero_si512();
                    for (int j = 0; j < kMinima; ++j)
                        // compilers would broadcast first, by an instruction of its own
                        asm("vpdpwssd %2%{1to16%}, %1, %0"
                            : "+v"(less)
                            : "v"(minima[j]), "m"(*reinterpret_cast<const int16_t(*)[2]>(of_column + 2 * j)));
                    sum = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(less), e, sum);
                }
                float* to = out + c * kPanelRows;
                _mm512_store_ps(to, _mm512_fmadd_ps(sum, _mm512_set1_ps(columns[c].d), _mm512_load_ps(to)));
            }
        }
    };

    Panel& panel_;
    Task before_{0, 0, nullptr, nullptr};  // nothing
    int turn_ = 0;
};

}  // namespace
