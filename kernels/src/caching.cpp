#include "columns.h"
#include "row_operations.h"
#include "rows.h"

namespace {

int64_t place_of(const Tensor* op, const Place& at) {
    const Tensor* places = op->src[1];
    const char* where = static_cast<const char*>(places->data) + at.i1 * places->nb[0] +
                        at.i2 % places->ne[1] * places->nb[1] + at.i3 % places->ne[2] * places->nb[2];
    if (places->type == ggml::I64) return *reinterpret_cast<const int64_t*>(where);
    return *reinterpret_cast<const int32_t*>(where);
}

void to_floats(const float* x, int64_t n, char* y) { std::memcpy(y, x, sizeof(float) * n); }

void to_halves(const float* x, int64_t n, char* y) {
    for (int64_t i = 0; i < n; i += V::kWidth)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + 2 * i),
                         _mm256_cvtps_ph(V::load(x + i), _MM_FROUND_TO_NEAREST_INT));
}

// Blocks of 32: a scale, and a byte for each.
void to_blocks(const float* x, int64_t n, char* y) {
    for (int64_t i = 0; i < n; i += 32, y += 34) {
        const float most = largest(x + i, 32);
        const auto scale = static_cast<uint16_t>(_cvtss_sh(most / 127, _MM_FROUND_TO_NEAREST_INT));
        std::memcpy(y, &scale, sizeof(scale));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + 2), to_bytes(x + i, most > 0 ? 127 / most : 0));
    }
}

struct Kept {
    int type;
    size_t bytes;      // of an element, or of a block
    int64_t multiple;  // of which a row has elements
    void (*convert)(const float* x, int64_t n, char* y);
};

constexpr Kept kKept[] = {
    {ggml::F32, 4, 1, to_floats},
    {ggml::F16, 2, V::kWidth, to_halves},
    {ggml::Q8_0, 34, 32, to_blocks},
};

const Kept* kept_as(int type) {
    for (const Kept& kept : kKept)
        if (kept.type == type) return &kept;
    return nullptr;
}

}  // namespace

bool cama::stores(const Tensor* op) {
    const Tensor *x = op->src[0], *places = op->src[1];
    const Kept* kept = kept_as(op->type);
    return kept && op->nb[0] == kept->bytes && has_float_rows(x) && x->ne[0] % kept->multiple == 0 &&
           (places->type == ggml::I64 || places->type == ggml::I32);
}

bool cama::has_places(const Tensor* op) {
    bool has_all = true;
    share_rows(op->src[0], {0, 1, nullptr}, [&](const Place& at) {
        const int64_t place = place_of(op, at);
        has_all = has_all && place >= 0 && place < op->ne[1];
    });
    return has_all;
}

void cama::store(const Tensor* op, const Member& self) {
    const Kept* kept = kept_as(op->type);
    share_rows(op->src[0], self, [&](const Place& at) {
        kept->convert(row_at(op->src[0], at), op->ne[0], bytes_at(op, {place_of(op, at), at.i2, at.i3}));
    });
}
