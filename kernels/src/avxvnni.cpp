// Kernels for AVX-VNNI: one instruction multiplies 32 bytes and sums them in 32 bits.
#include <cpuid.h>
#include <immintrin.h>

#include "vector8.h"
#include "vnni_tiles.h"

namespace {

struct Vnni8 : Vector8 {
    using Integers = __m256i;
    static Integers load_integers(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
    static Integers all_integers(int32_t x) { return _mm256_set1_epi32(x); }
    static Integers add_bytes(Integers sum, Integers a, Integers b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
    static Integers add_words(Integers sum, Integers a, Integers b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
    static Integers high_words(Integers x) { return _mm256_srai_epi32(x, 16); }
    static Type to_floats(Integers x) { return _mm256_cvtepi32_ps(x); }
};

template <class Format>
using Super = SuperTiles<Vnni8, Format>;
template <class Format>
using Block = BlockTiles<Vnni8, Format>;

const Kernel kKernels[] = {
    kernel<Super<Q2K>>(ggml::Q2_K, 1),  kernel<Super<Q3K>>(ggml::Q3_K, 1),
    kernel<Super<Q4K>>(ggml::Q4_K, 1),  kernel<Super<Q5K>>(ggml::Q5_K, 1),
    kernel<Super<Q6K>>(ggml::Q6_K, 2),  kernel<Block<Q40>>(ggml::Q4_0, 1),
    kernel<Block<Q41>>(ggml::Q4_1, 1),  kernel<Block<Q50>>(ggml::Q5_0, 1),
    kernel<Block<Q51>>(ggml::Q5_1, 1),  kernel<Block<Q80>>(ggml::Q8_0, 1),
    kernel<Super<IQ4XS>>(ggml::IQ4_XS, 1), kernel<Block<IQ4NL>>(ggml::IQ4_NL, 1),
    kernel<Block<MXFP4>>(ggml::MXFP4, 1),
    {-1, 0, 0, 0, 0, nullptr, nullptr},
};

}  // namespace

const Kernel* cama::kernels_avxvnni() { return kKernels; }

bool cama::has_avx_vnni() {
    unsigned a, b, c, d;
    constexpr unsigned kAvxVnni = 1u << 4;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & kAvxVnni) != 0;
}
