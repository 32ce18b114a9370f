// Attention by vectors of 16 floats.
#include "vector16.h"

#include "attention_tiles.h"
#include "halves_avx512.h"

namespace {

const CellFormat kFormats[] = {
    cell_format<CellF32>(),
    {CellF16::kType, CellF16::kMultiple, fill_keys_of_halves, fill_values_of_halves},
    cell_format<CellBF16>(),
    cell_format<CellQ80>(),
    cell_format<CellQ40>(),
    kNoFormat,
};
const AttentionKernel kAttention = attention<Vector16>(kFormats);

}  // namespace

const AttentionKernel& cama::attention_avx512() { return kAttention; }
