// Attention by vectors of 8 floats.
#include "attention_tiles.h"
#include "vector8.h"

namespace {

const CellFormat kFormats[] = {
    cell_format<CellF32>(), cell_format<CellF16>(), cell_format<CellBF16>(),
    cell_format<CellQ80>(), cell_format<CellQ40>(), kNoFormat,
};
const AttentionKernel kAttention = attention<Vector8>(kFormats);

}  // namespace

const AttentionKernel& cama::attention_avx2() { return kAttention; }
