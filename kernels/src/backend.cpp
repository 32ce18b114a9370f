// A ggml backend of type ACCEL: it takes products with quantized weights and attention, and leaves
// the rest.
//
// ggml_backend_load() loads this library. What it needs of ggml it asks the library that is already
// in the process, so it is linked with none.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

#include "attention.h"
#include "gemm.h"
#include "ggml_abi.h"
#include "row_operations.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using namespace ggml;
using cama::AttentionKernel;
using cama::Column;
using cama::Group;
using cama::Kernel;
using cama::Member;

constexpr const char* kName = "Cama";

// ---- what is asked of ggml -------------------------------------------------------------------

struct Host {
    int (*n_nodes)(Graph*);
    Tensor* (*node)(Graph*, int);
    bool (*is_host)(BufferType*);
    BufferType* (*cpu_buffer_type)();
    Buffer* (*cpu_buffer_from_ptr)(void* pointer, size_t size);
    const char* (*op_name)(int);
    size_t (*type_size)(int);
    size_t (*tensor_overhead)();
};

bool bind(Host& host) {
    void* library = dlopen("libggml-base.so.0", RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return false;
    bool all = true;
    const auto find = [&](auto& function, const char* name) {
        function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
        all = all && function;
    };
    find(host.n_nodes, "ggml_graph_n_nodes");
    find(host.node, "ggml_graph_node");
    find(host.is_host, "ggml_backend_buft_is_host");
    find(host.cpu_buffer_type, "ggml_backend_cpu_buffer_type");
    find(host.cpu_buffer_from_ptr, "ggml_backend_cpu_buffer_from_ptr");
    find(host.op_name, "ggml_op_name");
    find(host.type_size, "ggml_type_size");
    find(host.tensor_overhead, "ggml_tensor_overhead");
    if (!all || host.tensor_overhead() != kTensorBytes + 32) return false;
    constexpr struct {
        int op;
        const char* name;
    } known[] = {
        {OP_ADD, "ADD"}, {OP_MUL, "MUL"}, {OP_RMS_NORM, "RMS_NORM"}, {OP_MUL_MAT, "MUL_MAT"},
        {OP_MUL_MAT_ID, "MUL_MAT_ID"}, {OP_RESHAPE, "RESHAPE"}, {OP_VIEW, "VIEW"}, {OP_PERMUTE, "PERMUTE"},
        {OP_TRANSPOSE, "TRANSPOSE"}, {OP_SET_ROWS, "SET_ROWS"}, {OP_ROPE, "ROPE"},
        {OP_FLASH_ATTN_EXT, "FLASH_ATTN_EXT"}, {OP_GLU, "GLU"},
    };
    for (const auto& each : known)
        if (std::strcmp(host.op_name(each.op), each.name) != 0) return false;
    return true;
}

Host host;

// ---- which instructions ----------------------------------------------------------------------

struct Choice {
    const char* name;  // empty where nothing fits this processor
    const char* reason;
    const Kernel* kernels;
    const AttentionKernel* attention;
};

// CAMA_KERNELS may name a lesser set than the processor has, or "off".
Choice choose() {
    const char* wanted = std::getenv("CAMA_KERNELS");
    if (!wanted || !*wanted) wanted = "auto";
    const auto allows = [&](const char* name) {
        return !std::strcmp(wanted, "auto") || !std::strcmp(wanted, name);
    };
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                          __builtin_cpu_supports("f16c");
    const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vnni");
    if (allows("amx") && has_avx512 && cama::may_use_tiles()) return {"amx", "", cama::kernels_amx(), &cama::attention_avx512()};
    if (allows("avx512") && has_avx512) return {"avx512", "", cama::kernels_avx512(), &cama::attention_avx512()};
    if (allows("avxvnni") && has_avx2 && cama::has_avx_vnni())
        return {"avxvnni", "", cama::kernels_avxvnni(), &cama::attention_avx2()};
    if (allows("avx2") && has_avx2) return {"avx2", "", cama::kernels_avx2(), &cama::attention_avx2()};
    if (!std::strcmp(wanted, "off")) return {"", "CAMA_KERNELS is off", nullptr, nullptr};
    return {"", "the processor has none of the instructions that they need", nullptr, nullptr};
}

const Choice& choice() {
    static const Choice chosen = choose();
    return chosen;
}

const Kernel* kernel_of(int type) {
    for (const Kernel* kernel = choice().kernels; kernel && kernel->type >= 0; ++kernel)
        if (kernel->type == type) return kernel;
    return nullptr;
}

// ---- the backend -----------------------------------------------------------------------------

struct Stream {
    int n_threads = 1;
    bool (*should_abort)(void*) = nullptr;
    void* abort_data = nullptr;
    std::vector<Column> columns;
    std::vector<Group> groups;
    std::vector<int> counts, places;
    const Tensor* multiplied = nullptr;  // the product before, in this graph
    cama::ProductMemory product;
    cama::AttentionMemory attention;
    cama::Rotations rotations;
};

const float* x_row(const Tensor* t, int64_t i1, int64_t i2, int64_t i3) {
    return reinterpret_cast<const float*>(static_cast<const char*>(t->data) + i1 * t->nb[1] + i2 * t->nb[2] +
                                          i3 * t->nb[3]);
}

float* y_row(Tensor* t, int64_t i1, int64_t i2, int64_t i3) {
    return reinterpret_cast<float*>(static_cast<char*>(t->data) + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3]);
}

// Every plane of the weights, with the planes of the activations that it is repeated over.
void gather(Stream& stream, Tensor* dst) {
    const Tensor *w = dst->src[0], *x = dst->src[1];
    const int64_t repeat2 = x->ne[2] / w->ne[2], repeat3 = x->ne[3] / w->ne[3];
    for (int64_t w3 = 0; w3 < w->ne[3]; ++w3)
        for (int64_t w2 = 0; w2 < w->ne[2]; ++w2) {
            const auto* data = static_cast<const uint8_t*>(w->data) + w2 * w->nb[2] + w3 * w->nb[3];
            const int first = static_cast<int>(stream.columns.size());
            for (int64_t i3 = w3 * repeat3; i3 < (w3 + 1) * repeat3; ++i3)
                for (int64_t i2 = w2 * repeat2; i2 < (w2 + 1) * repeat2; ++i2)
                    for (int64_t i1 = 0; i1 < x->ne[1]; ++i1) {
                        stream.places.push_back(static_cast<int>(stream.columns.size()));
                        stream.columns.push_back({x_row(x, i1, i2, i3), y_row(dst, i1, i2, i3)});
                    }
            stream.groups.push_back({data, first, static_cast<int>(stream.columns.size()) - first});
        }
}

// Each row goes to the matrix that ids names for it; rows of one matrix come together.
bool gather_by_id(Stream& stream, Tensor* dst) {
    const Tensor *w = dst->src[0], *x = dst->src[1], *ids = dst->src[2];
    const int n_experts = static_cast<int>(w->ne[2]);
    const int64_t n_used = ids->ne[0], n_tokens = ids->ne[1];
    const auto id = [&](int64_t i, int64_t t) {
        return *reinterpret_cast<const int32_t*>(static_cast<const char*>(ids->data) + i * ids->nb[0] +
                                                 t * ids->nb[1]);
    };
    stream.counts.assign(n_experts + 1, 0);
    for (int64_t t = 0; t < n_tokens; ++t)
        for (int64_t i = 0; i < n_used; ++i) {
            const int32_t expert = id(i, t);
            if (expert < 0 || expert >= n_experts) return false;
            ++stream.counts[expert + 1];
        }
    for (int e = 0; e < n_experts; ++e) {
        const int n = stream.counts[e + 1];
        if (n) stream.groups.push_back({static_cast<const uint8_t*>(w->data) + e * w->nb[2], stream.counts[e], n});
        stream.counts[e + 1] += stream.counts[e];
    }
    stream.columns.resize(n_used * n_tokens);
    for (int64_t t = 0; t < n_tokens; ++t)
        for (int64_t i = 0; i < n_used; ++i) {
            const int place = stream.counts[id(i, t)]++;
            stream.places.push_back(place);
            stream.columns[place] = {x_row(x, i % x->ne[1], t, 0), y_row(dst, i, t, 0)};
        }
    return true;
}

cama::Product product_of(const Stream& stream, const Tensor* dst) {
    const Tensor *w = dst->src[0], *x = dst->src[1], *ids = dst->src[2];
    const bool is_shared = dst->op == OP_MUL_MAT_ID && x->ne[1] == 1;  // by all matrices that ids names for it
    return {kernel_of(w->type), w->ne[0], w->ne[1], w->nb[1], stream.columns, stream.groups, stream.places,
            is_shared ? static_cast<int>(ids->ne[0]) : 1};
}

// Whether two products quantize the same columns in the same order. A tensor keeps what it holds until all that
// read it are computed.
bool have_same_columns(const Tensor* a, const Tensor* b) {
    const Tensor *v = a->src[0], *w = b->src[0];
    return a->op == b->op && a->src[1] == b->src[1] && a->src[2] == b->src[2] && v->ne[2] == w->ne[2] &&
           v->ne[3] == w->ne[3] && kernel_of(v->type)->quantize == kernel_of(w->type)->quantize;
}

int prepare_product(Stream& stream, Tensor* dst, int n_threads) {
    stream.columns.clear();
    stream.groups.clear();
    stream.places.clear();
    if (dst->op == OP_MUL_MAT)
        gather(stream, dst);
    else if (!gather_by_id(stream, dst))
        return STATUS_FAILED;
    stream.product.has_columns = stream.multiplied && have_same_columns(stream.multiplied, dst);
    stream.multiplied = dst;
    return cama::prepare(product_of(stream, dst), n_threads, stream.product) ? STATUS_SUCCESS : STATUS_ALLOC_FAILED;
}

int multiply(Stream& stream, Tensor* dst, const Member& self) {
    cama::compute(product_of(stream, dst), self, stream.product);
    return STATUS_SUCCESS;
}

// Columns that meet one matrix: with experts, when all are asked alike, or as few as can be.
int64_t n_columns(const Tensor* op) {
    const Tensor* x = op->src[1];
    if (op->op == OP_MUL_MAT) return x->ne[1] * (x->ne[2] / op->src[0]->ne[2]) * (x->ne[3] / op->src[0]->ne[3]);
    return std::max<int64_t>(1, op->src[2]->ne[0] * op->src[2]->ne[1] / op->src[0]->ne[2]);
}

bool multiplies(const Tensor* op) {
    const Tensor *w = op->src[0], *x = op->src[1];
    const Kernel* kernel = kernel_of(w->type);
    if (!kernel || w->ne[0] % kernel->block || w->nb[0] != host.type_size(w->type)) return false;
    if (x->type != F32 || x->nb[0] != sizeof(float) || op->type != F32) return false;
    return n_columns(op) >= kernel->min_columns;
}

int prepare_attention(Stream& stream, Tensor* dst, int) {
    cama::prepare(*choice().attention, dst, stream.attention);
    return STATUS_SUCCESS;
}

int attend(Stream& stream, Tensor* dst, const Member& self) {
    const bool is_done = cama::attend(*choice().attention, dst, self, stream.attention);
    return is_done ? STATUS_SUCCESS : STATUS_ALLOC_FAILED;
}

bool attends(const Tensor* op) {
    const auto is_packed = [](const Tensor* t) { return t->nb[0] == host.type_size(t->type); };
    return is_packed(op->src[1]) && is_packed(op->src[2]) && cama::attends(*choice().attention, op);
}

// ---- what lies between them

int prepare_nothing(Stream&, Tensor*, int) { return STATUS_SUCCESS; }

int prepare_storing(Stream&, Tensor* dst, int) { return cama::has_places(dst) ? STATUS_SUCCESS : STATUS_FAILED; }

int prepare_rotation(Stream& stream, Tensor* dst, int) {
    return cama::prepare(dst, stream.rotations) ? STATUS_SUCCESS : STATUS_ALLOC_FAILED;
}

int rotate(Stream& stream, Tensor* dst, const Member& self) {
    cama::rotate(dst, self, stream.rotations);
    return STATUS_SUCCESS;
}

template <void (*compute)(const Tensor*, const Member&)>
int apply(Stream&, Tensor* dst, const Member& self) {
    compute(dst, self);
    return STATUS_SUCCESS;
}

int normalise(Stream&, Tensor* dst, const Member& self) {
    cama::norm(dst, nullptr, self);
    return STATUS_SUCCESS;
}

// ---- all of them -----------------------------------------------------------------------------

// One thread prepares it for a team of n_threads, then all of them compute it, with one result.
struct Operation {
    int op;
    bool is_between;  // what is computed here only next to what would be, anyway
    bool (*is_supported)(const Tensor*);
    int (*prepare)(Stream&, Tensor*, int n_threads);
    int (*compute)(Stream&, Tensor*, const Member&);
};

constexpr Operation kOperations[] = {
    {OP_MUL_MAT, false, multiplies, prepare_product, multiply},
    {OP_MUL_MAT_ID, false, multiplies, prepare_product, multiply},
    {OP_FLASH_ATTN_EXT, false, attends, prepare_attention, attend},
    {OP_RMS_NORM, true, cama::norms, prepare_nothing, normalise},
    {OP_ADD, true, cama::combines, prepare_nothing, apply<cama::combine>},
    {OP_MUL, true, cama::combines, prepare_nothing, apply<cama::combine>},
    {OP_GLU, true, cama::gates, prepare_nothing, apply<cama::gate>},
    {OP_ROPE, true, cama::rotates, prepare_rotation, rotate},
    {OP_SET_ROWS, true, cama::stores, prepare_storing, apply<cama::store>},
};

const Operation* operation_of(const Tensor* op) {
    for (const Operation& operation : kOperations)
        if (operation.op == op->op) return &operation;
    return nullptr;
}

const Tensor* behind_views(const Tensor* t) {
    const auto is_view = [](int op) {
        return op == OP_RESHAPE || op == OP_VIEW || op == OP_PERMUTE || op == OP_TRANSPOSE;
    };
    while (is_view(t->op)) t = t->src[0];
    return t;
}

// Whether what it follows, as far as that is near, is computed here. Each change of backends ends a team.
bool follows_ours(const Tensor* op, int how_near) {
    const Operation* before[2] = {};
    const Tensor* source[2] = {};
    for (int i = 0; i < 2 && op->src[i]; ++i) {
        source[i] = behind_views(op->src[i]);
        before[i] = operation_of(source[i]);
        if (before[i] && !before[i]->is_between) return before[i]->is_supported(source[i]);
    }
    for (int i = 0; i < 2; ++i)
        if (before[i] && how_near && follows_ours(source[i], how_near - 1)) return true;
    return false;
}

constexpr int kNear = 4;

bool is_ours(const Tensor* op) {
    const Operation* operation = operation_of(op);
    return operation && operation->is_supported(op) && (!operation->is_between || follows_ours(op, kNear));
}

// Every node once those before it are done, until one fails.
int compute_nodes(Stream& stream, Graph* graph, const Member& self, int& shared_status) {
    const int n = host.n_nodes(graph);
    for (int i = 0; i < n; ++i) {
        Tensor* node = host.node(graph, i);
        const Operation* operation = operation_of(node);
        if (!operation) continue;  // it is a view
        self.wait([&] {
            const bool is_aborted = stream.should_abort && stream.should_abort(stream.abort_data);
            shared_status = is_aborted ? STATUS_ABORTED : operation->prepare(stream, node, self.n);
        });
        if (shared_status != STATUS_SUCCESS) return shared_status;
        const Tensor* next = i + 1 < n ? host.node(graph, i + 1) : nullptr;
        if (next && node->op == OP_RMS_NORM && cama::scales(next, node)) {
            cama::norm(node, next, self);
            ++i;
            continue;
        }
        const int status = operation->compute(stream, node, self);
        if (status != STATUS_SUCCESS) return status;
    }
    return STATUS_SUCCESS;
}

int compute_graph(Backend* backend, Graph* graph) {
    auto& stream = *static_cast<Stream*>(backend->context);
    int prepared = STATUS_SUCCESS, computed = STATUS_SUCCESS;
    stream.multiplied = nullptr;
    cama::in_team(stream.n_threads, [&](const Member& self) {
        const int status = compute_nodes(stream, graph, self, prepared);
        if (self.index == 0) computed = status;
    });
    return computed;
}

const char* backend_name(Backend*) { return kName; }

void free_backend(Backend* backend) {
    delete static_cast<Stream*>(backend->context);
    delete backend;
}

void set_n_threads(Backend* backend, int n) { static_cast<Stream*>(backend->context)->n_threads = n > 0 ? n : 1; }

void set_abort_callback(Backend* backend, bool (*should_abort)(void*), void* data) {
    auto& stream = *static_cast<Stream*>(backend->context);
    stream.should_abort = should_abort;
    stream.abort_data = data;
}

// ---- the device ------------------------------------------------------------------------------

const char* device_name(Device*) { return kName; }
const char* device_description(Device*) { return choice().name; }
void device_memory(Device*, size_t* free, size_t* total) { *free = *total = 0; }
int device_type(Device*) { return DEVICE_ACCEL; }

void device_properties(Device* d, DeviceProperties* p) {
    *p = {kName, device_description(d), 0, 0, DEVICE_ACCEL, nullptr, {false, false, true, false, true}};
}

Backend* init_backend(Device* d, const char*) {
    static uint8_t guid[16] = {0xca, 0x3a, 0x11, 0x3a, 0x5e, 0x1d, 0x40, 0x0c,
                               0x9d, 0x27, 0x83, 0x6b, 0x51, 0xf0, 0x7e, 0x42};
    BackendInterface i{};
    i.get_name = backend_name;
    i.free = free_backend;
    i.graph_compute = compute_graph;
    return new Backend{&guid, i, d, new Stream};
}

// That of the CPU: ggml's scheduler then moves every operation that is supported here from the CPU.
BufferType* device_buffer_type(Device*) { return host.cpu_buffer_type(); }

Buffer* from_pointer(Device*, void* pointer, size_t size, size_t) {
    return host.cpu_buffer_from_ptr(pointer, size);
}

bool supports_op(Device*, const Tensor* op) {
    return op->op == OP_NONE || is_ours(op);
}

bool supports_buft(Device*, BufferType* type) { return host.is_host(type); }

Device device{{device_name, device_description, device_memory, device_type, device_properties, init_backend,
               device_buffer_type, nullptr, from_pointer, supports_op, supports_buft, nullptr, {}},
              nullptr,
              nullptr};

// ---- the registry ----------------------------------------------------------------------------

const char* registry_name(Registry*) { return kName; }
size_t device_count(Registry*) { return 1; }
Device* get_device(Registry*, size_t) { return &device; }

void* proc_address(Registry*, const char* name) {
    if (!std::strcmp(name, "ggml_backend_set_n_threads")) return reinterpret_cast<void*>(set_n_threads);
    if (!std::strcmp(name, "ggml_backend_set_abort_callback")) return reinterpret_cast<void*>(set_abort_callback);
    return nullptr;
}

Registry registry{kApiVersion, {registry_name, device_count, get_device, proc_address}, nullptr};

}  // namespace

EXPORT const char* cama_kernels_name() { return choice().name; }
EXPORT const char* cama_kernels_reason() { return *choice().name ? "ggml is not the pinned version" : choice().reason; }

EXPORT int ggml_backend_score() { return *choice().name ? 1 : 0; }

EXPORT Registry* ggml_backend_init() {
    if (!*choice().name || !bind(host)) return nullptr;
    device.reg = &registry;
    return &registry;
}
