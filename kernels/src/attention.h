// Attention of queries to cached keys and values, by a team of threads.
#pragma once

#include <atomic>
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

// What a team shares.
struct AttentionMemory {
    std::vector<uint64_t> allowed, together;
    std::vector<uint8_t> plain;
    std::vector<AttentionItem> items;
    Workspace scratch;
    std::atomic<int64_t> next{0}, next_joined{0};
};

// Whether a FLASH_ATTN_EXT can be computed here.
bool attends(const AttentionKernel& kernel, const ggml::Tensor* op);

// One thread prepares, then all of a team attend. False, for all of them, when there is no memory for it.
void prepare(const AttentionKernel& kernel, const ggml::Tensor* op, AttentionMemory& memory);
bool attend(const AttentionKernel& kernel, const ggml::Tensor* op, const Member& self, AttentionMemory& memory);

}  // namespace cama
