#include "nn/isa.h"

#include <string.h>

static const char *const names[] = {
    [FW_ISA_AUTO] = "auto",     [FW_ISA_SCALAR] = "scalar", [FW_ISA_AVX2] = "avx2",
    [FW_ISA_AVX512] = "avx512", [FW_ISA_NEON] = "neon",
};

enum { ISA_COUNT = sizeof(names) / sizeof(names[0]) };

int fw_isa_parse(const char *name)
{
    for (int i = 0; i < ISA_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *fw_isa_name(enum fw_isa isa)
{
    return names[isa];
}

// The compiler's check covers the operating system too: a feature whose registers are not saved
// across context switches counts as missing.
bool fw_isa_is_available(enum fw_isa isa)
{
    switch (isa) {
    case FW_ISA_AUTO:
    case FW_ISA_SCALAR:
        return true;
    case FW_ISA_AVX2:
#ifdef FW_HAVE_AVX2
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
        return false;
#endif
    case FW_ISA_AVX512:
#ifdef FW_HAVE_AVX512
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("fma");
#else
        return false;
#endif
    case FW_ISA_NEON:
#ifdef FW_HAVE_NEON
        return true; // part of every 64-bit Arm processor
#else
        return false;
#endif
    }
    return false;
}

enum fw_isa fw_isa_best(void)
{
    static const enum fw_isa fastest_first[] = {FW_ISA_AVX512, FW_ISA_AVX2, FW_ISA_NEON};
    for (size_t i = 0; i < sizeof(fastest_first) / sizeof(fastest_first[0]); i++) {
        if (fw_isa_is_available(fastest_first[i])) {
            return fastest_first[i];
        }
    }
    return FW_ISA_SCALAR;
}

const struct fw_kernels *fw_kernels_for(enum fw_isa isa)
{
    if (!fw_isa_is_available(isa)) {
        return NULL;
    }
    enum fw_isa chosen = isa == FW_ISA_AUTO ? fw_isa_best() : isa;
#ifdef FW_HAVE_AVX512
    if (chosen == FW_ISA_AVX512) {
        return &fw_kernels_avx512;
    }
#endif
#ifdef FW_HAVE_AVX2
    if (chosen == FW_ISA_AVX2) {
        return &fw_kernels_avx2;
    }
#endif
#ifdef FW_HAVE_NEON
    if (chosen == FW_ISA_NEON) {
        return &fw_kernels_neon;
    }
#endif
    return chosen == FW_ISA_SCALAR ? &fw_kernels_scalar : NULL;
}
