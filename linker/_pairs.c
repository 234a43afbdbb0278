/* Products of stored float16 rows with float32 queries, a row where it stands: linker/models/half_pairs.py
 * calls it through ctypes, which releases Python's lock. Threads are those of OpenMP, which torch has as
 * well. Where a compiler or a processor offers no vectors for it, pairs_level() is 0 and nothing else here
 * is called.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

EXPORT void *PyInit__kernels(void) { return NULL; } /* what a build of extensions expects; never called */

/* What linker/models/kernels.py expects: another number when a function takes other arguments. */
EXPORT int kernels_interface(void) { return 1; }

/* Queries that a row is multiplied with while it is read once. */
enum { TOGETHER = 4 };

/* The products of a row with `ways` (at most TOGETHER) queries behind each other, to dots[k * apart], and
 * with itself.
 */
typedef void (*multiplying)(const uint16_t *row, const float *queries, size_t ways, size_t width,
                            float *dots, size_t apart, float *square);

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define VECTORS 1
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vl"))) static void
multiply_512(const uint16_t *row, const float *queries, size_t ways, size_t width, float *dots,
             size_t apart, float *square)
{
    __m512 sums[TOGETHER], own = _mm512_setzero_ps();
    for (size_t k = 0; k < TOGETHER; k++)
        sums[k] = _mm512_setzero_ps();
    for (size_t i = 0; i < width; i += 16) {
        __mmask16 inside = width - i < 16 ? (__mmask16)((1u << (width - i)) - 1) : 0xFFFF;
        __m512 values = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(inside, row + i));
        own = _mm512_fmadd_ps(values, values, own);
        for (size_t k = 0; k < TOGETHER; k++)
            if (k < ways) {
                __m512 query = _mm512_maskz_loadu_ps(inside, queries + k * width + i);
                sums[k] = _mm512_fmadd_ps(values, query, sums[k]);
            }
    }
    for (size_t k = 0; k < ways; k++)
        dots[k * apart] = _mm512_reduce_add_ps(sums[k]);
    *square = _mm512_reduce_add_ps(own);
}

__attribute__((target("avx2"))) static float sum_256(__m256 lanes)
{
    float all[8];
    _mm256_storeu_ps(all, lanes);
    return ((all[0] + all[4]) + (all[1] + all[5])) + ((all[2] + all[6]) + (all[3] + all[7]));
}

__attribute__((target("avx2,f16c,fma"))) static void
multiply_256(const uint16_t *row, const float *queries, size_t ways, size_t width, float *dots,
             size_t apart, float *square)
{
    __m256 sums[TOGETHER], own = _mm256_setzero_ps();
    for (size_t k = 0; k < TOGETHER; k++)
        sums[k] = _mm256_setzero_ps();
    for (size_t i = 0; i < width; i += 8) {
        size_t some = width - i < 8 ? width - i : 8;
        uint16_t halves[8] = {0};
        memcpy(halves, row + i, 2 * some);
        __m256 values = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
        own = _mm256_fmadd_ps(values, values, own);
        for (size_t k = 0; k < TOGETHER; k++)
            if (k < ways) {
                float rest[8] = {0};
                const float *from = queries + k * width + i;
                if (some < 8)
                    from = memcpy(rest, from, 4 * some);
                sums[k] = _mm256_fmadd_ps(values, _mm256_loadu_ps(from), sums[k]);
            }
    }
    for (size_t k = 0; k < ways; k++)
        dots[k * apart] = sum_256(sums[k]);
    *square = sum_256(own);
}
#endif

/* The best level of this processor: 2 AVX-512, 1 AVX2, 0 nothing. */
EXPORT int pairs_level(void)
{
#ifdef VECTORS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("fma"))
        return 1;
#endif
    return 0;
}

/* For each of `mentions`, its `ways` queries times the rows of its `each` places.
 *
 * rows: (U, width) float16. queries: (mentions, ways, width). places: (mentions, each), rows of U. dots:
 * (mentions, ways, each); squares: (mentions, each) of the rows, with themselves. Every sum is taken in an
 * order that does not depend on the threads.
 */
EXPORT void pairs_dots(const uint16_t *rows, int64_t width, const float *queries, int64_t ways,
                       const int64_t *places, int64_t mentions, int64_t each, float *dots,
                       float *squares, int level, int threads)
{
#ifdef VECTORS
    multiplying multiply = level >= 2 ? multiply_512 : multiply_256;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t pair = 0; pair < mentions * each; pair++) {
        int64_t mention = pair / each;
        for (int64_t way = 0; way < ways; way += TOGETHER) {
            int64_t first = mention * ways + way;
            multiply(rows + places[pair] * width, queries + first * width,
                     (size_t)(ways - way < TOGETHER ? ways - way : TOGETHER), (size_t)width,
                     dots + first * each + pair % each, (size_t)each, squares + pair);
        }
    }
#endif
}
