#include "nn/isa.h"

#include <string.h>
#ifdef FW_HAVE_AVXVNNI
#include <cpuid.h>
#endif
#ifdef FW_HAVE_NEONDOT
#include <sys/auxv.h>
#endif

static const char *const names[] = {
    [FW_ISA_AUTO] = "auto",       [FW_ISA_SCALAR] = "scalar", [FW_ISA_AVX2] = "avx2",
    [FW_ISA_AVX512] = "avx512",   [FW_ISA_NEON] = "neon",     [FW_ISA_AVXVNNI] = "avxvnni",
    [FW_ISA_NEONDOT] = "neondot",
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

// The compiler's checks cover the operating system too: a feature whose registers are not saved
// across context switches counts as missing.
static bool has_avx2(void)
{
#ifdef FW_HAVE_AVX2
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool has_avx512(void)
{
#ifdef FW_HAVE_AVX512
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

// Bit 4 of EAX in leaf 7, subleaf 1; not every compiler that makes these instructions has a name
// for the check.
static bool has_avxvnni(void)
{
#ifdef FW_HAVE_AVXVNNI
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return has_avx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 &&
           (eax & 1u << 4) != 0;
#else
    return false;
#endif
}

static bool has_neon(void)
{
#ifdef FW_HAVE_NEON
    return true; // part of every 64-bit Arm processor
#else
    return false;
#endif
}

static bool has_neondot(void)
{
#ifdef FW_HAVE_NEONDOT
    return (getauxval(AT_HWCAP) & 1ul << 20) != 0; // HWCAP_ASIMDDP
#else
    return false;
#endif
}

bool fw_isa_is_available(enum fw_isa isa)
{
    switch (isa) {
    case FW_ISA_AUTO:
    case FW_ISA_SCALAR:
        return true;
    case FW_ISA_AVX2:
        return has_avx2();
    case FW_ISA_AVX512:
        return has_avx512();
    case FW_ISA_NEON:
        return has_neon();
    case FW_ISA_AVXVNNI:
        return has_avxvnni();
    case FW_ISA_NEONDOT:
        return has_neondot();
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
    if (chosen == FW_ISA_AVX2 || chosen == FW_ISA_AVXVNNI) {
        return &fw_kernels_avx2;
    }
#endif
#ifdef FW_HAVE_NEON
    if (chosen == FW_ISA_NEON || chosen == FW_ISA_NEONDOT) {
        return &fw_kernels_neon;
    }
#endif
    return chosen == FW_ISA_SCALAR ? &fw_kernels_scalar : NULL;
}

static const struct fw_int8_kernels *x86_kernels(enum fw_isa isa)
{
#ifdef FW_HAVE_AVX512VNNI
    if ((isa == FW_ISA_AUTO || isa == FW_ISA_AVX512) && has_avx512() &&
        __builtin_cpu_supports("avx512vnni")) {
        return &fw_int8_avx512vnni;
    }
#endif
#ifdef FW_HAVE_AVXVNNI
    if ((isa == FW_ISA_AUTO || isa == FW_ISA_AVXVNNI) && has_avxvnni()) {
        return &fw_int8_avxvnni;
    }
#endif
#ifdef FW_HAVE_AVX2
    if ((isa == FW_ISA_AUTO || isa == FW_ISA_AVX2 || isa == FW_ISA_AVX512) && has_avx2()) {
        return &fw_int8_avx2;
    }
#endif
    (void)isa;
    return NULL;
}

static const struct fw_int8_kernels *arm_kernels(enum fw_isa isa)
{
#ifdef FW_HAVE_NEONDOT
    if ((isa == FW_ISA_AUTO || isa == FW_ISA_NEONDOT) && has_neondot()) {
        return &fw_int8_neondot;
    }
#endif
#ifdef FW_HAVE_NEON
    if (isa == FW_ISA_AUTO || isa == FW_ISA_NEON) {
        return &fw_int8_neon;
    }
#endif
    (void)isa;
    return NULL;
}

const struct fw_int8_kernels *fw_int8_kernels_for(enum fw_isa isa)
{
    if (!fw_isa_is_available(isa)) {
        return NULL;
    }
    const struct fw_int8_kernels *kernels = x86_kernels(isa);
    kernels = kernels == NULL ? arm_kernels(isa) : kernels;
    bool plain = isa == FW_ISA_AUTO || isa == FW_ISA_SCALAR;
    return kernels == NULL && plain ? &fw_int8_scalar : kernels;
}

// Measured (docs/detection.md), and for NEON counted: sdot multiplies four times as much as fmla,
// while plain NEON takes as many instructions for bytes as for floats. The plain AVX2 kernels are
// faster than fp32 with AVX2, not than fp32 with AVX-512.
bool fw_int8_is_faster(enum fw_isa isa)
{
    const struct fw_int8_kernels *kernels = fw_int8_kernels_for(isa);
    bool is_wide_elsewhere = isa == FW_ISA_AVX512 || (isa == FW_ISA_AUTO && has_avx512());
#ifdef FW_HAVE_AVX512VNNI
    if (kernels == &fw_int8_avx512vnni) {
        return true;
    }
#endif
#ifdef FW_HAVE_AVX2
    if (kernels == &fw_int8_avx2) {
        return !is_wide_elsewhere;
    }
#endif
#ifdef FW_HAVE_NEON
    if (kernels == &fw_int8_neon) {
        return false;
    }
#endif
    (void)is_wide_elsewhere;
    return kernels != NULL && kernels != &fw_int8_scalar;
}
