// Attention by vectors of 16 floats.
#include "vector16.h"

#include "attention_tiles.h"

namespace {

const AttentionKernel kAttention = attention<Vector16>();

}  // namespace

const AttentionKernel& cama::attention_avx512() { return kAttention; }
