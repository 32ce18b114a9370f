// Operations on rows that are no multiple of a vector long, few and many, by one thread and by three.
#include <cmath>
#include <cstring>
#include <functional>

#include "cases.h"
#include "row_operations.h"

namespace {

using cama::Member;
using cases::tensor;
using ggml::Tensor;

struct Case {
    int64_t n, n_rows;
};

constexpr Case kCases[] = {{8, 1}, {64, 3}, {1037, 1}, {1300, 2}, {77, 40}};

std::vector<float> noise(int64_t n) {
    cases::Random random(static_cast<unsigned>(n));
    std::vector<float> found(n);
    for (float& x : found) x = cases::normal(random);
    return found;
}

Tensor floats(std::vector<float>& memory, int64_t n0, int64_t n1, int64_t n2 = 1) {
    return tensor(ggml::F32, 4, memory.data(), n0, n1, n2);
}

using Work = std::function<void(const Tensor&, const Member&)>;

// What an operation writes to a tensor of its own.
std::vector<float> result(Tensor op, int n_threads, const Work& work) {
    std::vector<float> y(op.ne[0] * op.ne[1] * op.ne[2]);
    op.data = y.data();
    cama::in_team(n_threads, [&](const Member& self) { work(op, self); });
    return y;
}

void compare(const std::string& name, const Tensor& op, const Work& work) {
    const std::vector<float> one = result(op, 1, work), more = result(op, 3, work);
    for (const float x : one) cases::check(std::isfinite(x), name + " gives no numbers");
    cases::check(one == more, name + " depends on the number of threads");
}

void norm(const Case& c) {
    std::vector<float> x = noise(c.n * c.n_rows);
    Tensor source = floats(x, c.n, c.n_rows), op = source;
    op.src[0] = &source;
    compare("norm", op, [](const Tensor& t, const Member& self) { cama::norm(&t, nullptr, self); });
}

void combine(const Case& c, int kind) {
    std::vector<float> x = noise(c.n * c.n_rows), column = noise(c.n_rows), row = noise(c.n);
    Tensor source = floats(x, c.n, c.n_rows), op = source;
    Tensor others[] = {source, floats(column, 1, c.n_rows), floats(row, c.n, 1)};
    op.op = kind;
    op.src[0] = &source;
    for (Tensor& other : others) {
        op.src[1] = &other;
        cases::check(cama::combines(&op), "rows are not combined");
        compare("sum or product", op, [](const Tensor& t, const Member& self) { cama::combine(&t, self); });
    }
}

void gate(const Case& c) {
    std::vector<float> both = noise(2 * c.n * c.n_rows);
    Tensor source = floats(both, 2 * c.n, c.n_rows), op = source;
    op.ne[0] = c.n;
    for (int i = 1; i < 4; ++i) op.nb[i] = source.nb[i] / 2;
    op.src[0] = &source;
    op.op_params[0] = 2;
    cases::check(cama::gates(&op), "rows are not gated");
    compare("gate", op, [](const Tensor& t, const Member& self) { cama::gate(&t, self); });
}

void rotate(const Case& c, int mode) {
    const int64_t n = c.n / 2 * 2;
    std::vector<float> x = noise(n * 2 * c.n_rows), factors(n / 2, 1.5F);
    std::vector<int32_t> places(c.n_rows, 7);
    Tensor source = floats(x, n, 2, c.n_rows), op = source, by = floats(factors, n / 2, 1);
    Tensor positions = tensor(ggml::I32, 4, places.data(), c.n_rows, 1, 1);
    const int32_t turned = static_cast<int32_t>(n > 16 ? n - 6 : n);
    const float settings[] = {1e4F, 0.5F, 1, 1, 32, 1};
    op.op_params[1] = turned;
    op.op_params[2] = mode;
    op.op_params[4] = 512;
    std::memcpy(op.op_params + 5, settings, sizeof(settings));
    op.src[0] = &source;
    op.src[1] = &positions;
    op.src[2] = &by;
    cases::check(cama::rotates(&op), "rows are not rotated");
    cama::Rotations rotations;
    compare("rotation", op, [&](const Tensor& t, const Member& self) {
        self.wait([&] { cases::check(cama::prepare(&t, rotations), "there is no memory"); });
        cama::rotate(&t, self, rotations);
    });
}

void store(const Case& c) {
    const int64_t n = c.n / 8 * 8;
    std::vector<float> x = noise(n * c.n_rows);
    std::vector<int64_t> places;
    for (int64_t i = 0; i < c.n_rows; ++i) places.push_back(c.n_rows - 1 - i);
    Tensor source = floats(x, n, c.n_rows), op = source;
    Tensor where = tensor(ggml::I64, 8, places.data(), c.n_rows, 1, 1);
    op.src[0] = &source;
    op.src[1] = &where;
    cases::check(cama::stores(&op) && cama::has_places(&op), "rows are not stored");
    compare("store", op, [](const Tensor& t, const Member& self) { cama::store(&t, self); });
    if (n % 32 == 0) {
        std::vector<uint8_t> blocks(n / 32 * 34 * c.n_rows);
        Tensor kept = tensor(ggml::Q8_0, 34, blocks.data(), n, c.n_rows, 1);
        for (int i = 1; i < 4; ++i) kept.nb[i] /= 32;
        kept.src[0] = &source;
        kept.src[1] = &where;
        cases::check(cama::stores(&kept), "rows are not stored as blocks");
        cama::in_team(3, [&](const Member& self) { cama::store(&kept, self); });
    }
    places[0] = c.n_rows;
    cases::check(!cama::has_places(&op), "a row is stored outside");
}

}  // namespace

void cases::rows() {
    for (const Case& c : kCases) {
        norm(c);
        combine(c, ggml::OP_ADD);
        combine(c, ggml::OP_MUL);
        gate(c);
        rotate(c, 0);
        rotate(c, 2);
        store(c);
    }
}
