#include "attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cama {

namespace {

using ggml::Tensor;
using Item = AttentionItem;

// Reading a cell costs about as much as multiplying it with this many rows.
constexpr int64_t kCellRows = 4;
// With fewer items for each thread they are split along the cells.
constexpr int64_t kItemsPerThread = 8;
// What a full tile needs would not fit the caches with longer keys.
constexpr int64_t kLongKey = 256;

const char* place(const Tensor* t, int64_t i1, int64_t i2, int64_t i3) {
    return static_cast<const char*>(t->data) + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3];
}

float parameter(const Tensor* op, int i) {
    float value;
    std::memcpy(&value, op->op_params + i, sizeof(value));
    return value;
}

const CellFormat* format_of(const AttentionKernel& kernel, int type) {
    for (const CellFormat* format = kernel.formats; format->type >= 0; ++format)
        if (format->type == type) return format;
    return nullptr;
}

// The slope of a head's linear bias (ALiBi), as ggml and MPT have it.
float slope_of(int64_t head, int64_t n_heads, float max_bias) {
    if (max_bias <= 0) return 1;
    const auto power = static_cast<int64_t>(std::exp2(std::floor(std::log2(static_cast<double>(n_heads)))));
    const float x = std::exp2(-max_bias / power), y = std::exp2(-max_bias / 2 / power);
    return head < power ? std::pow(x, static_cast<float>(head + 1))
                        : std::pow(y, static_cast<float>(2 * (head - power) + 1));
}

class Attention {
public:
    Attention(const AttentionKernel& kernel, const Tensor* op, AttentionMemory& memory)
        : kernel_(kernel), op_(op), q_(op->src[0]), k_(op->src[1]), v_(op->src[2]), mask_(op->src[3]),
          memory_(memory), n_key_(static_cast<int>(k_->ne[0])), n_value_(static_cast<int>(v_->ne[0])),
          max_rows_(n_key_ > kLongKey ? kTileRows / 2 : kTileRows),
          n_heads_(static_cast<int>(std::min<int64_t>(q_->ne[2] / k_->ne[2], max_rows_))),
          n_blocks_((k_->ne[1] + kBlockCells - 1) / kBlockCells),
          n_segments_((n_blocks_ + kSegmentBlocks - 1) / kSegmentBlocks) {}

    void prepare() const {
        memory_.next = memory_.next_joined = 0;
        memory_.allowed.resize(mask_rows() * n_blocks_);
        memory_.plain.resize(mask_rows() * n_blocks_);
    }

    bool compute(const Member& self) const {
        survey(self);
        self.wait([&] {
            plan();
            memory_.scratch.take(sizeof(float) * (own_floats() * self.n + all_parts_floats(self.n)));
        });
        if (!memory_.scratch.taken()) return false;
        auto* floats = reinterpret_cast<float*>(memory_.scratch.taken());
        float* mine = floats + own_floats() * self.index;
        if (!is_split(self.n)) {
            attend_items(mine);
            return true;
        }
        float* parts = floats + own_floats() * self.n;
        attend_segments(mine, parts);
        self.wait();
        join_segments(mine, parts);
        return true;
    }

private:
    // ---- the mask: one row in which all is allowed where there is none

    int64_t mask_queries() const { return mask_ ? q_->ne[1] : 1; }
    int64_t mask_heads() const { return mask_ ? mask_->ne[2] : 1; }
    int64_t mask_streams() const { return mask_ ? mask_->ne[3] : 1; }
    int64_t mask_rows() const { return mask_queries() * mask_heads() * mask_streams(); }

    MaskRow mask_row(int64_t query, int64_t head, int64_t stream) const {
        if (!mask_) return {memory_.allowed.data(), memory_.plain.data(), nullptr};
        head %= mask_heads();
        stream %= mask_streams();
        const int64_t first = ((stream * mask_heads() + head) * mask_queries() + query) * n_blocks_;
        return {memory_.allowed.data() + first, memory_.plain.data() + first,
                reinterpret_cast<const uint16_t*>(place(mask_, query, head, stream))};
    }

    void survey(const Member& self) const {
        if (!mask_) {
            if (self.index == 0) allow_all();
            return;
        }
        const int64_t n = mask_rows();
        for (int64_t i = n * self.index / self.n; i < n * (self.index + 1) / self.n; ++i) {
            const int64_t head = i / mask_queries();
            const char* row = place(mask_, i % mask_queries(), head % mask_heads(), head / mask_heads());
            kernel_.survey(reinterpret_cast<const uint16_t*>(row), k_->ne[1], memory_.allowed.data() + i * n_blocks_,
                           memory_.plain.data() + i * n_blocks_);
        }
    }

    void allow_all() const {
        const int64_t rest = k_->ne[1] % kBlockCells;
        std::fill(memory_.allowed.begin(), memory_.allowed.end(), ~uint64_t{0});
        std::fill(memory_.plain.begin(), memory_.plain.end(), uint8_t{1});
        if (rest) memory_.allowed.back() = (uint64_t{1} << rest) - 1;
    }

    // ---- the plan

    void plan() const {
        memory_.items.clear();
        for (int64_t stream = 0; stream < q_->ne[3]; ++stream) {
            // those at the end tend to see most: they come first
            for (int64_t end = q_->ne[1]; end > 0;) {
                const int n = queries_before(end, stream);
                end -= n;
                add_heads(stream, end, n);
            }
        }
    }

    // How many queries before `end` share a tile: as long as that takes less than reading apart what they see.
    int queries_before(int64_t end, int64_t stream) const {
        const int64_t most = std::min<int64_t>(end, max_rows_ / n_heads_);
        if (!mask_) return static_cast<int>(most);
        const auto seen = [&](int64_t query) { return mask_row(query, 0, stream).allowed; };
        auto& together = memory_.together;
        together.assign(seen(end - 1), seen(end - 1) + n_blocks_);
        int64_t n_together = kernel_.count(together.data(), together.data(), n_blocks_);
        for (int n = 1; n < most; ++n) {
            const uint64_t* other = seen(end - 1 - n);
            const int64_t n_other = kernel_.count(other, other, n_blocks_);
            const int64_t n_both = kernel_.count(together.data(), other, n_blocks_);
            const int64_t apart = n_together * (kCellRows + n * n_heads_) + n_other * (kCellRows + n_heads_);
            if (n_both * (kCellRows + (n + 1) * n_heads_) > apart) return n;
            for (int64_t i = 0; i < n_blocks_; ++i) together[i] |= other[i];
            n_together = n_both;
        }
        return static_cast<int>(most);
    }

    void add_heads(int64_t stream, int64_t query, int n_queries) const {
        const int64_t group = q_->ne[2] / k_->ne[2];
        for (int64_t first = 0; first < q_->ne[2]; first += group)
            for (int64_t head = 0; head < group; head += n_heads_)
                memory_.items.push_back({stream, first + head, query,
                                         static_cast<int>(std::min<int64_t>(n_heads_, group - head)), n_queries});
    }

    void describe(const Item& item, Tile& tile) const {
        const int64_t head = item.head / (q_->ne[2] / k_->ne[2]);
        const float cap = parameter(op_, 2);
        tile.n_rows = item.n_heads * item.n_queries;
        tile.n_key = n_key_;
        tile.n_value = n_value_;
        tile.keys = {reinterpret_cast<const uint8_t*>(place(k_, 0, head, item.stream)), k_->nb[1]};
        tile.values = {reinterpret_cast<const uint8_t*>(place(v_, 0, head, item.stream)), v_->nb[1]};
        tile.key_format = format_of(kernel_, k_->type);
        tile.value_format = format_of(kernel_, v_->type);
        tile.factor = cap == 0 ? parameter(op_, 0) : parameter(op_, 0) / cap;
        tile.cap = cap;
        const Tensor* sinks = op_->src[4];
        for (int r = 0; r < tile.n_rows; ++r) {
            const int64_t h = item.head + r % item.n_heads, query = item.query + r / item.n_heads;
            tile.q[r] = reinterpret_cast<const float*>(place(q_, query, h, item.stream));
            tile.y[r] = reinterpret_cast<float*>(const_cast<char*>(place(op_, h, query, item.stream)));
            tile.slope[r] = slope_of(h, q_->ne[2], parameter(op_, 1));
            tile.sink[r] = sinks ? static_cast<const float*>(sinks->data) + h : nullptr;
            tile.mask[r] = mask_row(query, h, item.stream);
        }
    }

    // ---- the work

    int64_t n_items() const { return static_cast<int64_t>(memory_.items.size()); }
    bool is_split(int n_threads) const { return n_segments_ > 1 && n_items() < kItemsPerThread * n_threads; }

    // Of a state; of what a thread has for itself: two states, and scratch; of the states of all segments.
    size_t part_floats() const { return state_floats(max_rows_, n_value_); }
    size_t own_floats() const { return padded(scratch_floats(max_rows_, n_key_, n_value_)) + 2 * part_floats(); }
    size_t all_parts_floats(int n_threads) const {
        return is_split(n_threads) ? part_floats() * n_items() * n_segments_ : 0;
    }

    void attend_items(float* mine) const {
        Tile tile;
        float* scratch = mine + 2 * part_floats();
        for (int64_t i = memory_.next++; i < n_items(); i = memory_.next++) {
            describe(memory_.items[i], tile);
            kernel_.begin(tile, scratch);
            const State total = empty(mine, tile.n_rows), one = state_at(mine + part_floats(), tile.n_rows);
            for (int64_t segment = 0; segment < n_segments_; ++segment) {
                attend(tile, segment, scratch, one);
                kernel_.merge(tile, total, one);
            }
            kernel_.finish(tile, total);
        }
    }

    // All heads of a segment one after the other: what they read lies together.
    void attend_segments(float* mine, float* parts) const {
        Tile tile;
        float* scratch = mine + 2 * part_floats();
        for (int64_t i = memory_.next++; i < n_items() * n_segments_; i = memory_.next++) {
            const int64_t item = i % n_items(), segment = i / n_items();
            describe(memory_.items[item], tile);
            kernel_.begin(tile, scratch);
            attend(tile, segment, scratch,
                   state_at(parts + part_floats() * (item * n_segments_ + segment), tile.n_rows));
        }
    }

    void join_segments(float* mine, float* parts) const {
        Tile tile;
        for (int64_t i = memory_.next_joined++; i < n_items(); i = memory_.next_joined++) {
            describe(memory_.items[i], tile);
            const State total = empty(mine, tile.n_rows);
            for (int64_t j = i * n_segments_; j < (i + 1) * n_segments_; ++j)
                kernel_.merge(tile, total, state_at(parts + part_floats() * j, tile.n_rows));
            kernel_.finish(tile, total);
        }
    }

    State empty(float* memory, int n_rows) const {
        const State state = state_at(memory, n_rows);
        std::fill_n(state.max, n_rows, -INFINITY);
        std::fill_n(state.sum, n_rows, 0.0F);
        std::fill_n(state.out, n_rows * row_floats(n_value_), 0.0F);
        return state;
    }

    void attend(const Tile& tile, int64_t segment, float* scratch, const State& state) const {
        const int64_t first = segment * kSegmentBlocks;
        kernel_.attend(tile, first, std::min<int64_t>(kSegmentBlocks, n_blocks_ - first), scratch, state);
    }

    const AttentionKernel& kernel_;
    const Tensor* op_;
    const Tensor *q_, *k_, *v_, *mask_;
    AttentionMemory& memory_;
    int n_key_, n_value_, max_rows_, n_heads_;
    int64_t n_blocks_, n_segments_;
};

}  // namespace

bool attends(const AttentionKernel& kernel, const Tensor* op) {
    const Tensor *q = op->src[0], *k = op->src[1], *v = op->src[2], *mask = op->src[3], *sinks = op->src[4];
    const CellFormat *keys = format_of(kernel, k->type), *values = format_of(kernel, v->type);
    if (!keys || !values || k->ne[0] % keys->multiple || v->ne[0] % values->multiple) return false;
    if (q->type != ggml::F32 || q->nb[0] != sizeof(float) || op->type != ggml::F32) return false;
    if (k->ne[2] != v->ne[2] || k->ne[3] != v->ne[3] || q->ne[3] != k->ne[3] || q->ne[2] % k->ne[2]) return false;
    if (mask && (mask->type != ggml::F16 || mask->ne[0] < k->ne[1] || mask->ne[1] < q->ne[1])) return false;
    return !sinks || (sinks->type == ggml::F32 && sinks->ne[0] == q->ne[2]);
}

void prepare(const AttentionKernel& kernel, const Tensor* op, AttentionMemory& memory) {
    Attention(kernel, op, memory).prepare();
}

bool attend(const AttentionKernel& kernel, const Tensor* op, const Member& self, AttentionMemory& memory) {
    return Attention(kernel, op, memory).compute(self);
}

}  // namespace cama
