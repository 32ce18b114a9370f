// How a team shares rows of floats, for operations that compute each of them, or a part of it, by itself.
//
// Files that include this are compiled for one instruction set: all of it has internal linkage.
#pragma once

#include <cstring>

#include "ggml_abi.h"
#include "team.h"
#include "vector8.h"

namespace {

using cama::Member;
using ggml::Tensor;
using V = Vector8;

constexpr int64_t kPart = 512;  // floats of a row that are worth a thread

struct Place {
    int64_t i1, i2, i3;
};

inline int64_t n_rows(const Tensor* t) { return t->ne[1] * t->ne[2] * t->ne[3]; }

inline char* bytes_at(const Tensor* t, const Place& at) {
    return static_cast<char*>(t->data) + at.i1 * t->nb[1] + at.i2 * t->nb[2] + at.i3 * t->nb[3];
}
inline float* row_at(const Tensor* t, const Place& at) { return reinterpret_cast<float*>(bytes_at(t, at)); }

// The row of a lesser tensor that is repeated over the larger one.
inline float* repeated_at(const Tensor* t, const Place& at) {
    return row_at(t, {at.i1 % t->ne[1], at.i2 % t->ne[2], at.i3 % t->ne[3]});
}

inline bool has_float_rows(const Tensor* t) { return t->type == ggml::F32 && t->nb[0] == sizeof(float); }

// work(place) of each row.
template <class Work>
void share_rows(const Tensor* t, const Member& self, const Work& work) {
    const int64_t n = n_rows(t);
    for (int64_t i = n * self.index / self.n; i < n * (self.index + 1) / self.n; ++i)
        work(Place{i % t->ne[1], i / t->ne[1] % t->ne[2], i / (t->ne[1] * t->ne[2])});
}

// work(place, first, n) of each row, or of parts of it where there are few.
template <class Work>
void share_parts(const Tensor* t, const Member& self, const Work& work) {
    const int64_t n_parts = n_rows(t) < 4 * self.n ? (t->ne[0] + kPart - 1) / kPart : 1;
    const int64_t length = n_parts > 1 ? kPart : t->ne[0], n = n_rows(t) * n_parts;
    for (int64_t i = n * self.index / self.n; i < n * (self.index + 1) / self.n; ++i) {
        const int64_t row = i / n_parts, first = i % n_parts * length, rest = t->ne[0] - first;
        work(Place{row % t->ne[1], row / t->ne[1] % t->ne[2], row / (t->ne[1] * t->ne[2])}, first,
             rest < length ? rest : length);
    }
}

// y = f(a, b), eight at a time; what is behind n is not touched.
template <class F>
void transform(const float* a, const float* b, int64_t n, float* y, const F& f) {
    int64_t i = 0;
    for (; i + V::kWidth <= n; i += V::kWidth) V::store(y + i, f(V::load(a + i), V::load(b + i)));
    if (i == n) return;
    alignas(32) float left[V::kWidth] = {}, right[V::kWidth] = {};
    std::memcpy(left, a + i, sizeof(float) * (n - i));
    std::memcpy(right, b + i, sizeof(float) * (n - i));
    V::store(left, f(V::load(left), V::load(right)));
    std::memcpy(y + i, left, sizeof(float) * (n - i));
}

}  // namespace
