// Attention of queries to cached keys and values, spread over the threads of OpenMP.
#pragma once

#include <cstdint>
#include <vector>

#include "attention_kernel.h"
#include "gemm.h"
#include "ggml_abi.h"

namespace cama {

// Queries [query, query + n_queries) of the heads [head, head + n_heads), which share keys.
struct AttentionItem {
    int64_t stream, head, query;
    int n_heads, n_queries;
};

// Memory that operations use one after the other.
struct AttentionMemory {
    std::vector<uint64_t> allowed, together;
    std::vector<uint8_t> plain;
    std::vector<AttentionItem> items;
    Workspace scratch;
};

// Whether a FLASH_ATTN_EXT can be computed here.
bool attends(const AttentionKernel& kernel, const ggml::Tensor* op);

// Returns false when there is no memory for it.
bool attend(const AttentionKernel& kernel, const ggml::Tensor* op, int n_threads, AttentionMemory& memory);

}  // namespace cama
