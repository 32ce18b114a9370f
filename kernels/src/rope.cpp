#include <cmath>

#include "row_operations.h"
#include "rows.h"

namespace {

// As op_params have them.
struct Parameters {
    int32_t n_past, n_dims, mode, n_ctx, n_ctx_trained;
    float base, scale, extrapolation, magnitude, fast, slow;
    int32_t sections[4], offset;
};
static_assert(sizeof(Parameters) == sizeof(Tensor::op_params));

enum Mode : int32_t { kPairs = 0, kHalves = 2 };  // who turns with whom: neighbours, or halves of a head

Parameters parameters_of(const Tensor* op) {
    Parameters p;
    std::memcpy(&p, op->op_params, sizeof(p));
    return p;
}

// YaRN: dimensions that turn fast keep their angle, slow ones are interpolated, some are in between.
class Angles {
public:
    explicit Angles(const Parameters& p)
        : p_(p), step_(std::pow(p.base, -2.0F / static_cast<float>(p.n_dims))) {
        if (p.extrapolation == 0) return;
        low_ = std::fmax(0.0F, std::floor(dimension(p.fast)));
        high_ = std::fmin(static_cast<float>(p.n_dims - 1), std::ceil(dimension(p.slow)));
        magnitude_ *= 1 + 0.1F * std::log(1 / p.scale);
    }

    // Angles are multiplied up from one to the next in single precision, as models were trained to have them.
    void fill(int32_t position, const float* factors, float* cosines, float* sines) const {
        auto angle = static_cast<float>(position);
        for (int32_t i = 0; i < p_.n_dims / 2; ++i, angle *= step_) {
            const float turned = blended(factors ? angle / factors[i] : angle, i);
            put(std::cos(turned) * magnitude_, std::sin(turned) * magnitude_, i, cosines, sines);
        }
    }

private:
    float dimension(float n_turns) const {
        constexpr float kTwoPi = 6.28318530717958647692F;
        const float n = static_cast<float>(p_.n_ctx_trained) / (n_turns * kTwoPi);
        return static_cast<float>(p_.n_dims) * std::log(n) / (2 * std::log(p_.base));
    }

    float blended(float angle, int32_t i) const {
        const float interpolated = p_.scale * angle;
        if (p_.extrapolation == 0) return interpolated;
        const float along = (static_cast<float>(i) - low_) / std::fmax(0.001F, high_ - low_);
        const float kept = (1 - std::fmin(1.0F, std::fmax(0.0F, along))) * p_.extrapolation;
        return interpolated * (1 - kept) + angle * kept;
    }

    // Each element is multiplied by its cosine, and the one that it turns with by its sine.
    void put(float cosine, float sine, int32_t i, float* cosines, float* sines) const {
        const int32_t first = p_.mode == kPairs ? 2 * i : i;
        const int32_t second = p_.mode == kPairs ? 2 * i + 1 : i + p_.n_dims / 2;
        cosines[first] = cosines[second] = cosine;
        sines[first] = -sine;
        sines[second] = sine;
    }

    Parameters p_;
    float step_, low_ = 0, high_ = 0, magnitude_ = p_.magnitude;
};

inline V::Type neighbours(V::Type x) { return _mm256_permute_ps(x, 0xb1); }

void rotate_pairs(const float* x, const float* cosines, const float* sines, int n, float* y) {
    int i = 0;
    for (; i + V::kWidth <= n; i += V::kWidth) {
        const auto a = V::load(x + i);
        V::store(y + i, V::fma(a, V::load(cosines + i), V::mul(neighbours(a), V::load(sines + i))));
    }
    for (; i < n; i += 2) {
        const float a = x[i], b = x[i + 1];
        y[i] = a * cosines[i] + b * sines[i];
        y[i + 1] = b * cosines[i + 1] + a * sines[i + 1];
    }
}

void rotate_halves(const float* x, const float* cosines, const float* sines, int n, float* y) {
    const int half = n / 2;
    int i = 0;
    for (; i + V::kWidth <= half; i += V::kWidth) {
        const auto a = V::load(x + i), b = V::load(x + half + i);
        const auto cosine = V::load(cosines + i), sine = V::load(sines + half + i);
        V::store(y + i, V::sub(V::mul(a, cosine), V::mul(b, sine)));
        V::store(y + half + i, V::fma(a, sine, V::mul(b, cosine)));
    }
    for (; i < half; ++i) {
        const float a = x[i], b = x[half + i];
        y[i] = a * cosines[i] + b * sines[i];
        y[half + i] = b * cosines[half + i] + a * sines[half + i];
    }
}

}  // namespace

bool cama::rotates(const Tensor* op) {
    const Parameters p = parameters_of(op);
    const Tensor *x = op->src[0], *positions = op->src[1], *factors = op->src[2];
    return has_float_rows(op) && has_float_rows(x) && (p.mode == kPairs || p.mode == kHalves) && p.offset == 0 &&
           p.n_dims % 2 == 0 && p.n_dims <= x->ne[0] && positions->type == ggml::I32 &&
           positions->nb[0] == sizeof(int32_t) && (!factors || has_float_rows(factors));
}

bool cama::prepare(const Tensor* op, Rotations& rotations) {
    const Parameters p = parameters_of(op);
    const auto* positions = static_cast<const int32_t*>(op->src[1]->data);
    const auto* factors = op->src[2] ? static_cast<const float*>(op->src[2]->data) : nullptr;
    const size_t n = op->ne[2], n_factors = factors ? p.n_dims / 2 : 0;
    const auto& known = rotations;
    rotations.is_new = known.positions.size() != n || known.factors.size() != n_factors ||
                       std::memcmp(known.parameters, op->op_params, sizeof(known.parameters)) ||
                       std::memcmp(known.positions.data(), positions, sizeof(int32_t) * n) ||
                       (n_factors && std::memcmp(known.factors.data(), factors, sizeof(float) * n_factors));
    if (!rotations.is_new) return true;
    rotations.positions.assign(positions, positions + n);
    rotations.factors.assign(factors, factors + n_factors);
    std::memcpy(rotations.parameters, op->op_params, sizeof(rotations.parameters));
    const bool has_memory = rotations.table.take(sizeof(float) * 2 * p.n_dims * n);
    if (!has_memory) rotations.positions.clear();
    return has_memory;
}

void cama::rotate(const Tensor* op, const Member& self, const Rotations& rotations) {
    const Parameters p = parameters_of(op);
    auto* table = reinterpret_cast<float*>(rotations.table.taken());
    const int64_t n = op->ne[2];
    if (rotations.is_new) {
        const Angles angles(p);
        const float* factors = rotations.factors.empty() ? nullptr : rotations.factors.data();
        for (int64_t i = n * self.index / self.n; i < n * (self.index + 1) / self.n; ++i) {
            float* row = table + 2 * p.n_dims * i;
            angles.fill(rotations.positions[i], factors, row, row + p.n_dims);
        }
        self.wait();
    }
    share_rows(op, self, [&](const Place& at) {
        const float *x = row_at(op->src[0], at), *row = table + 2 * p.n_dims * at.i2;
        float* y = row_at(op, at);
        (p.mode == kPairs ? rotate_pairs : rotate_halves)(x, row, row + p.n_dims, p.n_dims, y);
        if (y != x) std::memcpy(y + p.n_dims, x + p.n_dims, sizeof(float) * (op->ne[0] - p.n_dims));
    });
}
