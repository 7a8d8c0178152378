// Vectors of floats, as wide as the instruction set that this is compiled for, on the vector types
// of gcc and clang. For kernels_vector.c alone.
#ifndef FW_NN_VECTOR_H
#define FW_NN_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16 };
#elif defined(__AVX2__)
#include <immintrin.h>
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// The loops over register tiles must vanish: only then does the compiler keep a tile's array in
// registers.
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), may_alias));
typedef unsigned int integers __attribute__((vector_size(LANES * sizeof(int)), may_alias));

INLINE vector load(const float *from)
{
    return *(const vector *)from;
}

INLINE void store(float *to, vector value)
{
    *(vector *)to = value;
}

INLINE vector larger(vector a, vector b)
{
#if defined(__AVX512F__)
    return (vector)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vector)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__ARM_NEON)
    return (vector)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#else
    integers is_larger = (integers)(a > b);
    return (vector)((is_larger & (integers)a) | (~is_larger & (integers)b));
#endif
}

// As many bytes, as floats.
INLINE vector widen(const uint8_t *bytes)
{
#if defined(__AVX512F__)
    __m128i packed = _mm_loadu_si128((const __m128i *)bytes);
    return (vector)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(packed));
#elif defined(__AVX2__)
    __m128i packed = _mm_loadl_epi64((const __m128i *)bytes);
    return (vector)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(packed));
#elif defined(__ARM_NEON)
    uint32_t packed;
    memcpy(&packed, bytes, sizeof(packed));
    uint16x8_t words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(packed)));
    return (vector)vcvtq_f32_u32(vmovl_u16(vget_low_u16(words)));
#else
    vector result = {0};
    for (int i = 0; i < LANES; i++) {
        result[i] = bytes[i];
    }
    return result;
#endif
}

#endif
