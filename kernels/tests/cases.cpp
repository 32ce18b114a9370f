#include "cases.h"

std::vector<cases::Set> cases::sets() {
    std::vector<Set> found;
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (has_avx2) found.push_back({"avx2", cama::kernels_avx2(), &cama::attention_avx2()});
    if (has_avx2 && cama::has_avx_vnni())
        found.push_back({"avxvnni", cama::kernels_avxvnni(), &cama::attention_avx2()});
#ifdef CAMA_AVX512_CASES
    const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vnni");
    if (has_avx512) found.push_back({"avx512", cama::kernels_avx512(), &cama::attention_avx512()});
    if (has_avx512 && cama::may_use_tiles()) found.push_back({"amx", cama::kernels_amx(), &cama::attention_avx512()});
#endif
    return found;
}

int main() {
    if (cases::sets().empty()) {
        std::puts("nothing to run on this processor");
        return 0;
    }
    cases::products();
    cases::attention();
    cases::rows();
    cases::logits();
    std::puts("passed");
}
