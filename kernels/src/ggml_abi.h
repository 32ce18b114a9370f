// What a ggml backend has to look like: the parts of ggml's interface that this library uses.
//
// ggml's headers are not at hand when Cama is built, and those of its backends are not installed
// at all. The layouts are those of GGML_BACKEND_API_VERSION 2; backend.cpp compares sizes and names
// with the library that loads it and refuses another one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ggml {

constexpr int kApiVersion = 2;
constexpr size_t kTensorBytes = 336;

enum Type : int {
    F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8,
    Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14, IQ4_NL = 20, IQ4_XS = 23, I32 = 26, I64 = 27,
    BF16 = 30,
    MXFP4 = 39,
};

enum Op : int {
    OP_NONE = 0, OP_ADD = 2, OP_MUL = 7, OP_RMS_NORM = 25, OP_MUL_MAT = 29, OP_MUL_MAT_ID = 30, OP_RESHAPE = 36,
    OP_VIEW = 37, OP_PERMUTE = 38, OP_TRANSPOSE = 39, OP_SET_ROWS = 42, OP_ROPE = 48, OP_FLASH_ATTN_EXT = 74,
    OP_GLU = 100,
};

enum Status : int { STATUS_ALLOC_FAILED = -2, STATUS_FAILED = -1, STATUS_SUCCESS = 0, STATUS_ABORTED = 1 };

enum DeviceType : int { DEVICE_ACCEL = 3 };

struct Buffer;
struct BufferType;
struct Device;
struct Backend;
struct Registry;
struct Graph;

struct Tensor {
    int type;
    Buffer* buffer;
    int64_t ne[4];
    size_t nb[4];
    int op;
    int32_t op_params[16];
    int32_t flags;
    Tensor* src[10];
    Tensor* view_src;
    size_t view_offs;
    void* data;
    char name[64];
    void* extra;
    char padding[8];
};
static_assert(sizeof(Tensor) == kTensorBytes, "the tensor's layout is not that of the pinned ggml");

struct BackendInterface {
    const char* (*get_name)(Backend*);
    void (*free)(Backend*);
    void* asynchronous[5];
    void (*synchronize)(Backend*);
    void* plans[4];
    int (*graph_compute)(Backend*, Graph*);
    void* events[2];
    void* graph_optimize;
};

struct Backend {
    uint8_t (*guid)[16];
    BackendInterface iface;
    Device* device;
    void* context;
};

struct DeviceCapabilities {
    bool async, host_buffer, buffer_from_host_ptr, events, mmap_support;
};

struct DeviceProperties {
    const char* name;
    const char* description;
    size_t memory_free, memory_total;
    int type;
    const char* device_id;
    DeviceCapabilities caps;
};

struct DeviceInterface {
    const char* (*get_name)(Device*);
    const char* (*get_description)(Device*);
    void (*get_memory)(Device*, size_t* free, size_t* total);
    int (*get_type)(Device*);
    void (*get_props)(Device*, DeviceProperties*);
    Backend* (*init_backend)(Device*, const char* params);
    BufferType* (*get_buffer_type)(Device*);
    BufferType* (*get_host_buffer_type)(Device*);
    Buffer* (*buffer_from_host_ptr)(Device*, void* pointer, size_t size, size_t max_tensor_size);
    bool (*supports_op)(Device*, const Tensor*);
    bool (*supports_buft)(Device*, BufferType*);
    bool (*offload_op)(Device*, const Tensor*);
    void* events[3];
};

struct Device {
    DeviceInterface iface;
    Registry* reg;
    void* context;
};

struct RegistryInterface {
    const char* (*get_name)(Registry*);
    size_t (*get_device_count)(Registry*);
    Device* (*get_device)(Registry*, size_t index);
    void* (*get_proc_address)(Registry*, const char* name);
};

struct Registry {
    int api_version;
    RegistryInterface iface;
    void* context;
};

}  // namespace ggml
