/* GELU(LayerNorm(x)) of rows and its gradient, each in one pass over them: linker/models/activation.py calls it
 * through ctypes. Numbers are float32 or bfloat16 in memory and float32 in between. Threads are those of
 * OpenMP, which torch has as well. Where there is no AVX-512, activation_level() is 0 and nothing else here
 * is called.
 *
 * Φ(z) = ½ (1 + erf(z / √2)) by the formula 7.1.26 of Abramowitz and Stegun, with an error of at most 1.5e-7;
 * its exponential is that of the density, which the gradient needs as well.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Rows whose sums are added up before those of others: the same for any number of threads. */
enum { BLOCK = 64 };

/* Rows of `width` numbers of one kind. */
struct rows {
    void *data;
    size_t width;
    int is_short; /* bfloat16, not float32 */
};

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define VECTORS 1
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

/* Which of 16 numbers from i on are inside a row. */
AVX512 static inline __mmask16 inside(size_t i, size_t width)
{
    return width - i < 16 ? (__mmask16)((1u << (width - i)) - 1) : 0xFFFF;
}

AVX512 static inline __m512 load(const struct rows *of, size_t row, size_t i, __mmask16 some)
{
    size_t at = row * of->width + i;
    if (!of->is_short)
        return _mm512_maskz_loadu_ps(some, (const float *)of->data + at);
    __m256i halves = _mm256_maskz_loadu_epi16(some, (const uint16_t *)of->data + at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* To the nearest, ties to even; NaN stays NaN. */
AVX512 static inline void store(const struct rows *of, size_t row, size_t i, __mmask16 some, __m512 values)
{
    size_t at = row * of->width + i;
    if (!of->is_short) {
        _mm512_mask_storeu_ps((float *)of->data + at, some, values);
        return;
    }
    __m512i bits = _mm512_castps_si512(values);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
    __mmask16 unequal = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
    bits = _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
    bits = _mm512_mask_mov_epi32(bits, unequal, _mm512_set1_epi32(0x7FC0));
    _mm256_mask_storeu_epi16((uint16_t *)of->data + at, some, _mm512_cvtepi32_epi16(bits));
}

/* exp(−z²/2) */
AVX512 static inline __m512 density(__m512 z)
{
    __m512 x = _mm512_mul_ps(_mm512_mul_ps(z, z), _mm512_set1_ps(-0.5f));
    x = _mm512_max_ps(_mm512_set1_ps(-87.0f), x); /* its second operand where one is NaN */
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x); /* ln 2 in two parts */
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

/* Φ(z), given exp(−z²/2). */
AVX512 static inline __m512 normal(__m512 z, __m512 e)
{
    __m512 d = _mm512_abs_ps(z);
    d = _mm512_fmadd_ps(d, _mm512_set1_ps(0.3275911f * 0.70710678f), _mm512_set1_ps(1.0f));
    __m512 t = _mm512_rcp14_ps(d);
    t = _mm512_mul_ps(t, _mm512_fnmadd_ps(d, t, _mm512_set1_ps(2.0f))); /* one step of Newton's */
    __m512 p = _mm512_set1_ps(0.5f * 1.061405429f);
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.5f * -1.453152027f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.5f * 1.421413741f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.5f * -0.284496736f));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.5f * 0.254829592f));
    __m512 tail = _mm512_mul_ps(_mm512_mul_ps(p, t), e);
    __mmask16 negative = _mm512_movepi32_mask(_mm512_castps_si512(z));
    return _mm512_mask_blend_ps(negative, _mm512_sub_ps(_mm512_set1_ps(1.0f), tail), tail);
}

AVX512 static void forward_row(const struct rows *x, const struct rows *y, size_t row, const float *gain,
                               const float *bias, float eps, float *mean, float *scale)
{
    size_t width = x->width;
    __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (size_t i = 0; i < width; i += 16)
        sum = _mm512_add_ps(sum, load(x, row, i, inside(i, width)));
    *mean = _mm512_reduce_add_ps(sum) / (float)width;
    __m512 middle = _mm512_set1_ps(*mean);
    for (size_t i = 0; i < width; i += 16) {
        __mmask16 some = inside(i, width);
        __m512 away = _mm512_maskz_sub_ps(some, load(x, row, i, some), middle);
        squares = _mm512_fmadd_ps(away, away, squares);
    }
    *scale = 1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)width + eps);
    __m512 by = _mm512_set1_ps(*scale);
    for (size_t i = 0; i < width; i += 16) {
        __mmask16 some = inside(i, width);
        __m512 normed = _mm512_mul_ps(_mm512_sub_ps(load(x, row, i, some), middle), by);
        __m512 z = _mm512_fmadd_ps(normed, _mm512_maskz_loadu_ps(some, gain + i),
                                   _mm512_maskz_loadu_ps(some, bias + i));
        store(y, row, i, some, _mm512_mul_ps(z, normal(z, density(z))));
    }
}

/* memory: 2 · width floats. gain_sums, bias_sums: what is added to, (width,). */
AVX512 static void backward_row(const struct rows *dy, const struct rows *x, const struct rows *dx,
                                size_t row, const float *gain, const float *bias, float mean,
                                float scale, float *gain_sums, float *bias_sums, float *memory)
{
    size_t width = x->width;
    float *normed_row = memory, *sent_row = memory + width;
    __m512 middle = _mm512_set1_ps(mean), by = _mm512_set1_ps(scale);
    __m512 sum = _mm512_setzero_ps(), products = _mm512_setzero_ps();
    for (size_t i = 0; i < width; i += 16) {
        __mmask16 some = inside(i, width);
        __m512 g = _mm512_maskz_loadu_ps(some, gain + i);
        __m512 normed = _mm512_mul_ps(_mm512_sub_ps(load(x, row, i, some), middle), by);
        __m512 z = _mm512_fmadd_ps(normed, g, _mm512_maskz_loadu_ps(some, bias + i)), e = density(z);
        __m512 slope = _mm512_mul_ps(_mm512_mul_ps(z, e), _mm512_set1_ps(0.39894228f)); /* 1 / √2π */
        __m512 sent = _mm512_mul_ps(_mm512_add_ps(slope, normal(z, e)), load(dy, row, i, some));
        __m512 gains = _mm512_maskz_loadu_ps(some, gain_sums + i);
        __m512 biases = _mm512_maskz_loadu_ps(some, bias_sums + i);
        _mm512_mask_storeu_ps(gain_sums + i, some, _mm512_fmadd_ps(sent, normed, gains));
        _mm512_mask_storeu_ps(bias_sums + i, some, _mm512_add_ps(sent, biases));
        sent = _mm512_mul_ps(sent, g);
        sum = _mm512_add_ps(sum, sent);
        products = _mm512_fmadd_ps(sent, normed, products);
        _mm512_mask_storeu_ps(normed_row + i, some, normed);
        _mm512_mask_storeu_ps(sent_row + i, some, sent);
    }
    __m512 sent_mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (float)width);
    __m512 product_mean = _mm512_set1_ps(_mm512_reduce_add_ps(products) / (float)width);
    for (size_t i = 0; i < width; i += 16) {
        __mmask16 some = inside(i, width);
        __m512 left = _mm512_sub_ps(_mm512_maskz_loadu_ps(some, sent_row + i), sent_mean);
        left = _mm512_fnmadd_ps(_mm512_maskz_loadu_ps(some, normed_row + i), product_mean, left);
        store(dx, row, i, some, _mm512_mul_ps(left, by));
    }
}
#endif

/* 2: AVX-512 is here, 0: it is not, and torch is as fast. */
EXPORT int activation_level(void)
{
#ifdef VECTORS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return 2;
#endif
    return 0;
}

/* y = GELU(LayerNorm(x)) of `count` rows; means and scales (1 / σ) of them, for the gradient. */
EXPORT void activation_forward(void *x, int x_short, void *y, int y_short, const float *gain,
                               const float *bias, float eps, float *means, float *scales, int64_t count,
                               int64_t width, int threads)
{
#ifdef VECTORS
    struct rows from = {x, (size_t)width, x_short}, to = {y, (size_t)width, y_short};
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < count; row++)
        forward_row(&from, &to, (size_t)row, gain, bias, eps, means + row, scales + row);
#endif
}

/* The gradients of x, and of gain and bias behind each other in sums (2, width); 0, or -1 without memory. */
EXPORT int activation_backward(void *dy, int dy_short, void *x, int x_short, void *dx, int dx_short,
                               const float *gain, const float *bias, const float *means,
                               const float *scales, float *sums, int64_t count, int64_t width,
                               int threads)
{
    int failed = 0;
#ifdef VECTORS
    struct rows sent = {dy, (size_t)width, dy_short}, from = {x, (size_t)width, x_short};
    struct rows to = {dx, (size_t)width, dx_short};
    int64_t blocks = (count + BLOCK - 1) / BLOCK;
    float *parts = calloc((size_t)(blocks * 2 * width) + 1, sizeof(float));
    if (!parts)
        return -1;
#pragma omp parallel num_threads(threads)
    {
        float *memory = malloc((size_t)(2 * width) * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) {
            float *part = parts + block * 2 * width;
            int64_t stop = (block + 1) * BLOCK < count ? (block + 1) * BLOCK : count;
            for (int64_t row = block * BLOCK; memory && row < stop; row++)
                backward_row(&sent, &from, &to, (size_t)row, gain, bias, means[row], scales[row], part,
                             part + width, memory);
        }
        if (!memory) {
#pragma omp atomic write
            failed = -1;
        }
        free(memory);
    }
    for (int64_t i = 0; i < 2 * width; i++) {
        double total = 0;
        for (int64_t block = 0; block < blocks; block++)
            total += parts[block * 2 * width + i];
        sums[i] = (float)total;
    }
    free(parts);
#endif
    return failed;
}
