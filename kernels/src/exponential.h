// Functions that are made of e^x, for vectors of any width.
#pragma once

namespace {

// e^x; at most 1e-7 away from it, relatively. Below -87 it stays at 2^-126; NaN gives NaN.
template <class V>
inline typename V::Type exponential(typename V::Type x) {
    const auto magic = V::all(12582912);  // 1.5 * 2^23: adding it rounds to whole numbers
    x = V::max(V::all(-87.3f), V::min(V::all(88), x));
    const auto t = V::fma(x, V::all(1.44269504f), magic);
    const auto n = V::sub(t, magic);
    // ln 2 in two parts; the product with the first one is exact
    const auto r = V::fma(n, V::all(2.12194440e-4f), V::fma(n, V::all(-0.693359375f), x));
    // e^r = 1 + r + r^2 p(r) on |r| <= ln 2 / 2, fitted for the least relative error
    auto p = V::all(0x1.6a241ap-10f);
    p = V::fma(p, r, V::all(0x1.1239f2p-7f));
    p = V::fma(p, r, V::all(0x1.5558f2p-5f));
    p = V::fma(p, r, V::all(0x1.555492p-3f));
    p = V::fma(p, r, V::all(0x1.fffffcp-2f));
    const auto y = V::add(V::fma(p, V::mul(r, r), r), V::all(1));
    return V::mul(y, V::power_of_two(t));
}

template <class V>
inline float exponential(float x) {
    return V::first(exponential<V>(V::all(x)));
}

template <class V>
inline typename V::Type hyperbolic_tangent(typename V::Type x) {
    const auto one = V::all(1), e = exponential<V>(V::add(x, x));
    return V::sub(one, V::div(V::all(2), V::add(e, one)));
}

}  // namespace
