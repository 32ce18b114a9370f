#include "row_operations.h"
#include "rows.h"

namespace {

template <class F>
void combine_with(const Tensor* op, const Member& self, const F& f) {
    const Tensor* other = op->src[1];
    share_parts(op, self, [&](const Place& at, int64_t first, int64_t n) {
        const float *a = row_at(op->src[0], at) + first, *b = repeated_at(other, at);
        float* y = row_at(op, at) + first;
        if (other->ne[0] == op->ne[0]) {
            transform(a, b + first, n, y, f);
        } else {
            const auto one = V::all(*b);
            transform(a, a, n, y, [&](V::Type x, V::Type) { return f(x, one); });
        }
    });
}

}  // namespace

bool cama::combines(const Tensor* op) {
    const Tensor *a = op->src[0], *b = op->src[1];
    return has_float_rows(op) && has_float_rows(a) && b->type == ggml::F32 &&
           (b->ne[0] == 1 || (b->ne[0] == op->ne[0] && has_float_rows(b)));
}

void cama::combine(const Tensor* op, const Member& self) {
    if (op->op == ggml::OP_ADD)
        combine_with(op, self, [](V::Type a, V::Type b) { return V::add(a, b); });
    else
        combine_with(op, self, [](V::Type a, V::Type b) { return V::mul(a, b); });
}
