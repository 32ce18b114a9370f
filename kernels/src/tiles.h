// AMX's tiles of 16 rows of 64 bytes, and their instructions.
//
// Compilers' own functions for them do not say what memory they read (GCC 12: neither the whole
// configuration nor anything that is loaded), so that what was to be read may not be stored yet.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

namespace {

constexpr int kTile = 16;  // rows

struct alignas(64) TileConfiguration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

// Tiles 4 and 5 are n_bytes of some columns each, 6 and 7 as much of weights; 0 and 1 are sums for the
// first columns, 2 and 3 for the second ones.
inline void configure(int n_first, int n_second, int n_bytes) {
    TileConfiguration c;
    for (int i = 0; i < 8; ++i) {
        const bool is_second = i == 2 || i == 3 || i == 5;
        c.row_bytes[i] = static_cast<uint16_t>(i == 4 || i == 5 ? n_bytes : 64);
        c.rows[i] = static_cast<uint8_t>(i > 5 ? n_bytes / 4 : is_second ? n_second : n_first);
    }
    asm volatile("ldtilecfg %0" : : "m"(c));
}

// While a thread has tiles, a switch to another one has 8 KB more to save.
struct TilesInUse {
    TilesInUse() {}
    ~TilesInUse() { asm volatile("tilerelease"); }
};

template <int T>
inline void tile_zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(T));
}

template <int T>
inline void tile_load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(T) : "memory");
}

template <int T>
inline void tile_store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(T) : "memory");
}

// Sum += A B for signed bytes in A and unsigned ones in B.
template <int Sum, int A, int B>
inline void tile_multiply_unsigned() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
}

// The same for signed bytes in both.
template <int Sum, int A, int B>
inline void tile_multiply() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
}

// The same for pairs of BF16 in both, into floats.
template <int Sum, int A, int B>
inline void tile_multiply_floats() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
}

}  // namespace
