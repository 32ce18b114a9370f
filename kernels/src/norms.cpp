#include <cmath>

#include "row_operations.h"
#include "rows.h"

namespace {

// The sum of squares in double precision, always in the same order.
double square_sum(const float* x, int64_t n) {
    __m256d sum[4] = {};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 4; ++j) {
            const __m256d y = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4 * j));
            sum[j] = _mm256_fmadd_pd(y, y, sum[j]);
        }
    const __m256d four = _mm256_add_pd(_mm256_add_pd(sum[0], sum[1]), _mm256_add_pd(sum[2], sum[3]));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    double total = _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
    for (; i < n; ++i) total += static_cast<double>(x[i]) * x[i];
    return total;
}

}  // namespace

bool cama::norms(const Tensor* op) { return has_float_rows(op) && has_float_rows(op->src[0]); }

bool cama::scales(const Tensor* scale, const Tensor* norm) {
    const Tensor* by = scale->src[1];
    return scale->op == ggml::OP_MUL && scale->src[0] == norm && combines(scale) && by->ne[0] == norm->ne[0] &&
           scale->data == norm->data && !std::memcmp(scale->nb, norm->nb, sizeof(norm->nb));
}

void cama::norm(const Tensor* op, const Tensor* scale, const Member& self) {
    float epsilon;
    std::memcpy(&epsilon, op->op_params, sizeof(epsilon));
    const int64_t n = op->ne[0];
    share_rows(op, self, [&](const Place& at) {
        const float* x = row_at(op->src[0], at);
        const auto mean = static_cast<float>(square_sum(x, n) / static_cast<double>(n));
        const auto factor = V::all(1 / std::sqrt(mean + epsilon));
        if (!scale)
            transform(x, x, n, row_at(op, at), [&](V::Type a, V::Type) { return V::mul(a, factor); });
        else
            transform(x, repeated_at(scale->src[1], at), n, row_at(scale, at),
                    [&](V::Type a, V::Type b) { return V::mul(V::mul(a, factor), b); });
    });
}
