// Kernels for AVX-512 with VNNI: one instruction multiplies 64 bytes and sums them in 32 bits.
#include "few_blocks.h"
#include "floats.h"
#include "vnni16.h"

namespace {

template <class Format>
using Super = SuperTiles<Vnni16, Format>;
template <class Format>
using Block = BlockTiles<Vnni16, Format>;

template <class Format>
constexpr Kernel super_kernel(int type) {
    Kernel with_few = kernel<Super<Format>>(type, 1);
    with_few.multiply = multiply_few_or_more<Super<Format>, FewColumns, Format>;
    return with_few;
}

template <class Format>
constexpr Kernel block_kernel(int type) {
    Kernel with_few = kernel<Block<Format>>(type, 1);
    with_few.multiply = multiply_few_or_more<Block<Format>, FewBlocks, Format>;
    return with_few;
}

const Kernel kKernels[] = {
    super_kernel<Q2K>(ggml::Q2_K),  super_kernel<Q3K>(ggml::Q3_K),
    super_kernel<Q4K>(ggml::Q4_K),  super_kernel<Q5K>(ggml::Q5_K),
    super_kernel<Q6K>(ggml::Q6_K),  block_kernel<Q40>(ggml::Q4_0),
    kernel<Block<Q41>>(ggml::Q4_1, 1),  kernel<Block<Q50>>(ggml::Q5_0, 1),
    kernel<Block<Q51>>(ggml::Q5_1, 1),  block_kernel<Q80>(ggml::Q8_0),
    kernel<Super<IQ4XS>>(ggml::IQ4_XS, 1), block_kernel<IQ4NL>(ggml::IQ4_NL),
    block_kernel<MXFP4>(ggml::MXFP4),
    float_kernel<Vector16, F16>(), float_kernel<Vector16, BF16>(),
    {-1, 0, 0, 0, 0, nullptr, nullptr},
};

}  // namespace

const Kernel* cama::kernels_avx512() { return kKernels; }
