#include "exponential.h"
#include "row_operations.h"
#include "rows.h"

namespace {

constexpr int32_t kSwiglu = 2;  // ggml's number, op_params[0]

// x * sigmoid(x)
inline V::Type sigmoid_linear_unit(V::Type x) {
    const auto zero = V::all(0), one = V::all(1);
    return V::div(x, V::add(one, exponential<V>(V::sub(zero, x))));
}

}  // namespace

bool cama::gates(const Tensor* op) {
    const Tensor *x = op->src[0], *by = op->src[1];
    return op->op_params[0] == kSwiglu && has_float_rows(op) && has_float_rows(x) && (!by || has_float_rows(by));
}

void cama::gate(const Tensor* op, const Member& self) {
    const Tensor *x = op->src[0], *by = op->src[1];
    // without a second tensor both are halves of the rows of the first, in an order that is said
    const int64_t offset = by ? 0 : op->ne[0], swapped = op->op_params[1];
    share_parts(op, self, [&](const Place& at, int64_t first, int64_t n) {
        const float* own = row_at(x, at) + first + (swapped ? offset : 0);
        const float* other = row_at(by ? by : x, at) + first + (swapped ? 0 : offset);
        transform(own, other, n, row_at(op, at) + first,
                [](V::Type a, V::Type b) { return V::mul(sigmoid_linear_unit(a), b); });
    });
}
