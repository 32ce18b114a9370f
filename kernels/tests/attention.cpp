// Attention over caches of halves, with masks that forbid some cells, all of a block, or everything.
#include "attention.h"

#include <cmath>
#include <cstring>

#include "cases.h"

namespace {

using cases::tensor;
using ggml::Tensor;

struct Case {
    int64_t n_key, n_value, n_cells, n_queries, n_heads, n_kv_heads;
    bool has_mask, has_sinks;
};

constexpr Case kCases[] = {
    {40, 40, 1, 1, 1, 1, false, false},  {64, 64, 63, 1, 4, 1, true, false},  {64, 64, 65, 33, 4, 2, true, false},
    {128, 128, 2100, 1, 8, 2, true, true}, {96, 80, 1100, 5, 3, 3, true, false}, {576, 512, 130, 3, 4, 1, true, false},
};

uint16_t half(float x) {  // of an ordinary number, or minus infinity
    if (std::isinf(x)) return 0xfc00;
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const int exponent = static_cast<int>(bits >> 23 & 255) - 112;
    return static_cast<uint16_t>((bits >> 16 & 0x8000) | (exponent <= 0 ? 0 : exponent << 10 | (bits >> 13 & 1023)));
}

struct Numbers {
    std::vector<float> q, sinks;
    std::vector<uint16_t> k, v, mask;
};

Numbers numbers(const Case& c) {
    cases::Random random(static_cast<unsigned>(c.n_cells));
    Numbers all;
    all.q.resize(c.n_key * c.n_queries * c.n_heads);
    all.k.resize(c.n_key * c.n_cells * c.n_kv_heads);
    all.v.resize(c.n_value * c.n_cells * c.n_kv_heads);
    all.mask.resize(c.n_cells * c.n_queries);
    all.sinks.resize(c.n_heads);
    for (auto* floats : {&all.q, &all.sinks})
        for (float& x : *floats) x = cases::normal(random);
    for (auto* halves : {&all.k, &all.v})
        for (uint16_t& x : *halves) x = half(cases::normal(random));
    for (size_t i = 0; i < all.mask.size(); ++i) {
        const bool is_seen = i / c.n_cells % 7 != 6 && i % c.n_cells / 64 % 2 == 0 && random() % 3;
        all.mask[i] = is_seen ? half(random() % 5 ? 0.f : -1.f) : half(-INFINITY);
    }
    return all;
}

std::vector<float> compute(const cama::AttentionKernel& kernel, const Case& c, Numbers& all, int n_threads) {
    std::vector<float> y(c.n_value * c.n_heads * c.n_queries);
    Tensor q = tensor(ggml::F32, 4, all.q.data(), c.n_key, c.n_queries, c.n_heads);
    Tensor k = tensor(ggml::F16, 2, all.k.data(), c.n_key, c.n_cells, c.n_kv_heads);
    Tensor v = tensor(ggml::F16, 2, all.v.data(), c.n_value, c.n_cells, c.n_kv_heads);
    Tensor mask = tensor(ggml::F16, 2, all.mask.data(), c.n_cells, c.n_queries, 1);
    Tensor sinks = tensor(ggml::F32, 4, all.sinks.data(), c.n_heads, 1, 1);
    Tensor op = tensor(ggml::F32, 4, y.data(), c.n_value, c.n_heads, c.n_queries);
    Tensor* sources[] = {&q, &k, &v, c.has_mask ? &mask : nullptr, c.has_sinks ? &sinks : nullptr};
    std::copy(std::begin(sources), std::end(sources), op.src);
    const float scale = 1 / std::sqrt(static_cast<float>(c.n_key));
    std::memcpy(op.op_params, &scale, sizeof scale);
    cases::check(cama::attends(kernel, &op), "attention is not computed");
    cama::AttentionMemory memory;
    cama::prepare(kernel, &op, memory);
    std::atomic<bool> is_done{true};
    cama::in_team(n_threads, [&](const cama::Member& self) {
        if (!cama::attend(kernel, &op, self, memory)) is_done = false;
    });
    cases::check(is_done, "there is no memory");
    return y;
}

}  // namespace

void cases::attention() {
    for (const Set& set : sets())
        for (const Case& c : kCases) {
            Numbers all = numbers(c);
            const std::vector<float> one = compute(*set.attention, c, all, 1), more = compute(*set.attention, c, all, 3);
            const std::string name = std::string(set.name) + ", attention to " + std::to_string(c.n_cells) + " cells";
            for (size_t i = 0; i < one.size(); ++i) {
                check(std::isfinite(one[i]), name + " gives no numbers");
                check(std::fabs(one[i] - more[i]) <= 1e-5f * (1 + std::fabs(one[i])),
                      name + " depends on the number of threads");
            }
        }
}
