// Attention by vectors of 8 floats.
#include "attention_tiles.h"
#include "vector8.h"

namespace {

const AttentionKernel kAttention = attention<Vector8>();

}  // namespace

const AttentionKernel& cama::attention_avx2() { return kAttention; }
