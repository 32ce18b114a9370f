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

// n is a multiple of 8.
void to_halves(const float* x, int64_t n, char* y) {
    for (int64_t i = 0; i < n; i += V::kWidth)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + 2 * i),
                         _mm256_cvtps_ph(V::load(x + i), _MM_FROUND_TO_NEAREST_INT));
}

}  // namespace

bool cama::stores(const Tensor* op) {
    const Tensor *x = op->src[0], *places = op->src[1];
    const bool is_kept = op->type == ggml::F32 || op->type == ggml::F16;
    return is_kept && op->nb[0] == (op->type == ggml::F32 ? 4 : 2) && has_float_rows(x) &&
           x->ne[0] % V::kWidth == 0 && (places->type == ggml::I64 || places->type == ggml::I32);
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
    const int64_t n = op->ne[0];
    share_rows(op->src[0], self, [&](const Place& at) {
        const float* x = row_at(op->src[0], at);
        char* y = bytes_at(op, {place_of(op, at), at.i2, at.i3});
        if (op->type == ggml::F16)
            to_halves(x, n, y);
        else
            std::memcpy(y, x, sizeof(float) * n);
    });
}
