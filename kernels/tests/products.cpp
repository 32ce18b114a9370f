// Products of every kernel, over weights of random bytes: scales that are no numbers among them.
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "cases.h"
#include "gemm.h"
#include "ggml_abi.h"

namespace {

using cama::Kernel;

struct Case {
    int64_t k;  // in blocks of the kernel
    int64_t n_rows;
    int n_columns, n_groups;
};

// Ends of panels, tiles and blocks, and a bit more; as many columns as make another way the better one
constexpr Case kCases[] = {
    {1, 1, 1, 1},  {1, 64, 2, 1}, {2, 65, 3, 1},   {2, 33, 4, 1},    {3, 63, 9, 2},   {9, 90, 12, 1},
    {8, 130, 5, 3}, {9, 8, 17, 1}, {2, 70, 20, 2}, {3, 40, 25, 1}, {2, 65, 49, 1}, {10, 72, 300, 1},
    {1, 200, 257, 2},
};

// Bytes of one block of a format.
size_t block_bytes(const Kernel& kernel) {
    switch (kernel.type) {
        case ggml::Q4_0: return 18;
        case ggml::Q4_1: return 20;
        case ggml::Q5_0: return 22;
        case ggml::Q5_1: return 24;
        case ggml::Q8_0: return 34;
        case ggml::Q2_K: return 84;
        case ggml::Q3_K: return 110;
        case ggml::Q4_K: return 144;
        case ggml::Q5_K: return 176;
        case ggml::Q6_K: return 210;
        case ggml::IQ4_NL: return 18;
        case ggml::IQ4_XS: return 136;
        case ggml::MXFP4: return 17;
        case ggml::F16: return 2;
        case ggml::BF16: return 2;
        default: break;
    }
    cases::check(false, "the size of format " + std::to_string(kernel.type) + " is not in products.cpp");
    return 0;
}

// Weights in a row.
int64_t k_of(const Kernel& kernel, const Case& c) {
    constexpr int64_t kUneven = 131;  // what has no blocks has ends of vectors
    return c.k * (kernel.block > 1 ? kernel.block : kUneven);
}

size_t row_bytes_of(const Kernel& kernel, const Case& c) {
    return block_bytes(kernel) * static_cast<size_t>(k_of(kernel, c) / kernel.block);
}

// Columns of ordinary numbers, but for one of zeros and one with what is no number.
std::vector<std::vector<float>> activations(int n, int64_t k, cases::Random& random) {
    std::vector<std::vector<float>> columns(n, std::vector<float>(k));
    for (int c = 0; c < n; ++c)
        for (float& x : columns[c]) x = c == 1 ? 0 : cases::normal(random) * (c == 2 ? 1e30f : 1.f);
    if (n > 3) {
        columns[3][0] = std::numeric_limits<float>::quiet_NaN();
        columns[3][k - 1] = std::numeric_limits<float>::infinity();
    }
    return columns;
}

using Rows = std::vector<std::vector<float>>;

Rows compute(const Kernel& kernel, const Case& c, const std::vector<std::vector<uint8_t>>& weights, const Rows& x,
             int n_threads) {
    Rows y(x.size(), std::vector<float>(c.n_rows));
    std::vector<cama::Column> columns;
    for (size_t i = 0; i < x.size(); ++i) columns.push_back({x[i].data(), y[i].data()});
    std::vector<cama::Group> groups;
    for (int g = 0; g < c.n_groups; ++g) groups.push_back({weights[g].data(), g * c.n_columns, c.n_columns});
    const int64_t k = k_of(kernel, c);
    const size_t row_bytes = row_bytes_of(kernel, c);
    cama::ProductMemory memory;
    std::vector<int> places(columns.size());
    std::iota(places.begin(), places.end(), 0);
    const cama::Product product{&kernel, k, c.n_rows, row_bytes, columns, groups, places, 1};
    cases::check(cama::prepare(product, n_threads, memory), "there is no memory");
    cama::in_team(n_threads, [&](const cama::Member& self) { cama::compute(product, self, memory); });
    return y;
}

bool are_same(const Rows& a, const Rows& b) {
    for (size_t i = 0; i < a.size(); ++i)
        for (size_t j = 0; j < a[i].size(); ++j)
            if (a[i][j] != b[i][j] && !(std::isnan(a[i][j]) && std::isnan(b[i][j]))) return false;
    return true;
}

void run(const Kernel& kernel, const Case& c, const std::string& name) {
    cases::Random random(static_cast<unsigned>(c.n_rows + c.n_columns));
    std::vector<std::vector<uint8_t>> weights(c.n_groups);
    for (auto& bytes : weights) {
        bytes.resize(row_bytes_of(kernel, c) * c.n_rows);
        for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
    }
    const Rows x = activations(c.n_columns * c.n_groups, k_of(kernel, c), random);
    const Rows one = compute(kernel, c, weights, x, 1);
    cases::check(are_same(one, compute(kernel, c, weights, x, 3)), name + " depends on the number of threads");
}

}  // namespace

void cases::products() {
    for (const Set& set : sets())
        for (const Kernel* kernel = set.kernels; kernel->type >= 0; ++kernel)
            for (const Case& c : kCases) {
                const std::string shape = std::to_string(k_of(*kernel, c)) + " x " + std::to_string(c.n_rows);
                run(*kernel, c, std::string(set.name) + " of format " + std::to_string(kernel->type) + ", " + shape);
            }
}
