/* Logits of one user with many items by a folded one-layer Wukong: pairs in lanes, a block of them in the cache.
 *
 * Every value of a block is a row of LANES pairs, so that a product with a matrix is a sum of scaled rows, and norms and
 * dot products are sums over rows: nothing is reduced across a vector. `block.h` is compiled for each set of
 * instructions; `level` says which one this processor has.
 */
#include "pairs.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define NAME(name) name##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define WIDE 16
#define VECTORS 2
#define FROM_BYTES(at) _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(at)))
#define FROM_HALVES(at) _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(at)))
#include "block.h"
#undef NAME
#undef TARGET
#undef WIDE
#undef VECTORS
#undef FROM_BYTES
#undef FROM_HALVES

#define NAME(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define WIDE 8
#define VECTORS 2
#define FROM_BYTES(at) _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(at)))
#define FROM_HALVES(at) _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(at)))
#include "block.h"

/* 2 with AVX-512, 1 with AVX2, 0 where neither is there or the system does not keep its registers. The processor is
 * asked itself, since __builtin_cpu_supports finds nothing where zig has compiled it. */
int64_t level(void) {
    const unsigned avx = bit_OSXSAVE | bit_AVX | bit_FMA;
    const unsigned avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    unsigned eax, ebx, ecx, edx, kept, high;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & avx) != avx) return 0;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & bit_AVX2)) return 0;
    __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    if ((kept & 0x06) != 0x06) return 0;
    return (ebx & avx512) == avx512 && (kept & 0xe6) == 0xe6 ? 2 : 1;
}

/* 0; -1 where memory is short, -2 where a row is not among the items. */
int64_t score(int64_t at_level, const struct model *model, const struct call *call) {
    return at_level == 2 ? score_avx512(model, call) : score_avx2(model, call);
}

#else

int64_t level(void) { return 0; }

int64_t score(int64_t at_level, const struct model *model, const struct call *call) { return -1; }

#endif
