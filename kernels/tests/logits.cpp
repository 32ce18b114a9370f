// Rows of logits of every length around the steps of the loops, against the standard library.
#include "logits.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cases.h"

namespace {

std::vector<float> row_of(int64_t n, cases::Random& random) {
    std::vector<float> row(n);
    for (float& x : row) x = random() % 9 ? std::round(cases::normal(random) * 20) / 4 : -INFINITY;
    return row;
}

void run(int64_t n, int64_t k, cases::Random& random) {
    const std::vector<float> row = row_of(n, random);
    std::vector<uint8_t> allowed((n + 7) / 8);
    for (auto& byte : allowed) byte = static_cast<uint8_t>(random());
    const std::string name = std::to_string(k) + " of " + std::to_string(n) + " logits";

    std::vector<int64_t> expected;
    for (int64_t i = 0; i < n; ++i)
        if (row[i] > -INFINITY) expected.push_back(i);
    std::stable_sort(expected.begin(), expected.end(), [&](int64_t a, int64_t b) { return row[a] > row[b]; });
    expected.resize(std::min<size_t>(expected.size(), k));
    std::vector<int64_t> places(std::min(n, k));
    std::vector<float> values(places.size());
    places.resize(cama_top_k(row.data(), n, k, places.data(), values.data()));
    cases::check(places == expected, name + " are not the best");
    for (size_t i = 0; i < places.size(); ++i) cases::check(values[i] == row[places[i]], name + " have other values");

    std::vector<float> masked(n);
    cama_mask(row.data(), n, allowed.data(), masked.data());
    for (int64_t i = 0; i < n; ++i)
        cases::check(masked[i] == (allowed[i / 8] >> (i % 8) & 1 ? row[i] : -INFINITY), name + ": the mask");
    const auto best = std::max_element(masked.begin(), masked.end());
    const int64_t place = *best == -INFINITY ? -1 : best - masked.begin();
    cases::check(cama_argmax(row.data(), n, allowed.data()) == place, name + ": the best that is allowed");
    cases::check(cama_argmax(masked.data(), n, nullptr) == place, name + ": the best");

    double sum = 0;
    for (const float x : row) sum += std::exp(static_cast<double>(x) - 30);
    cases::check(std::abs(cama_sum_exp(row.data(), n, 30) - sum) <= 1e-6 * sum, name + ": their sum");
}

}  // namespace

void cases::logits() {
    Random random(5);
    for (int64_t n = 1; n < 70; ++n) run(n, 1 + n / 3, random);
    for (const int64_t n : {1023, 1024, 1025, 3000, 9001})
        for (const int64_t k : {1, 40, 1000, 9001}) run(n, k, random);
}
