/* Bit shuffles of 2- and 4-byte values, and float32 rounded to float16: see _bits.h. */

#include "_bits.h"

#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define VECTORS 1
#include <immintrin.h>

/* what is left of a block when no whole vector is ------------------------------------------------ */

/* The 8 × 8 bits of a number, transposed. */
static uint64_t transposed(uint64_t x)
{
    uint64_t t;
    t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAULL;
    x ^= t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCULL;
    x ^= t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ULL;
    return x ^ t ^ (t << 28);
}

static void unshuffle_rest(const uint8_t *in, uint8_t *out, size_t values, size_t item, size_t from)
{
    size_t plane = values / 8;
    for (size_t j = from / 8; j < plane; j++)
        for (size_t c = 0; c < item; c++) {
            uint64_t bits = 0;
            for (int b = 0; b < 8; b++)
                bits |= (uint64_t)in[(8 * c + b) * plane + j] << (8 * b);
            bits = transposed(bits);
            for (int k = 0; k < 8; k++)
                out[(8 * j + k) * item + c] = (uint8_t)(bits >> (8 * k));
        }
}

static void shuffle_rest(const uint8_t *in, uint8_t *out, size_t values, size_t item, size_t from)
{
    size_t plane = values / 8;
    for (size_t j = from / 8; j < plane; j++)
        for (size_t c = 0; c < item; c++) {
            uint64_t bytes = 0;
            for (int k = 0; k < 8; k++)
                bytes |= (uint64_t)in[(8 * j + k) * item + c] << (8 * k);
            bytes = transposed(bytes);
            for (int b = 0; b < 8; b++)
                out[(8 * c + b) * plane + j] = (uint8_t)(bytes >> (8 * b));
        }
}

/* AVX-512: 64 values at once; a plane's 64 bits are a mask ------------------------------------ */

#define AVX512 __attribute__((target("avx512f,avx512bw")))

/* Byte c of 64 values, from its 8 planes. */
AVX512 static inline __m512i bytes_512(const uint8_t *planes, size_t plane)
{
    __m512i bytes = _mm512_setzero_si512();
    for (int b = 0; b < 8; b++) {
        uint64_t bits;
        memcpy(&bits, planes + b * plane, 8);
        bytes = _mm512_mask_add_epi8(bytes, bits, bytes, _mm512_set1_epi8((char)(1 << b)));
    }
    return bytes;
}

AVX512 static void unshuffle_512(const uint8_t *in, uint8_t *out, size_t values, size_t item)
{
    const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    size_t plane = values / 8, j = 0;
    for (; j + 8 <= plane; j += 8) {
        __m512i *to = (__m512i *)(out + 8 * j * item);
        __m512i b0 = bytes_512(in + j, plane), b1 = bytes_512(in + 8 * plane + j, plane);
        __m512i low = _mm512_unpacklo_epi8(b0, b1), high = _mm512_unpackhi_epi8(b0, b1);
        if (item == 2) {
            _mm512_storeu_si512(to, _mm512_permutex2var_epi64(low, first, high));
            _mm512_storeu_si512(to + 1, _mm512_permutex2var_epi64(low, second, high));
            continue;
        }
        __m512i b2 = bytes_512(in + 16 * plane + j, plane), b3 = bytes_512(in + 24 * plane + j, plane);
        __m512i low2 = _mm512_unpacklo_epi8(b2, b3), high2 = _mm512_unpackhi_epi8(b2, b3);
        /* lane L of rk holds values 16 L + 4 k … 16 L + 4 k + 3 */
        __m512i r0 = _mm512_unpacklo_epi16(low, low2), r1 = _mm512_unpackhi_epi16(low, low2);
        __m512i r2 = _mm512_unpacklo_epi16(high, high2), r3 = _mm512_unpackhi_epi16(high, high2);
        __m512i t0 = _mm512_shuffle_i64x2(r0, r1, 0x44), t1 = _mm512_shuffle_i64x2(r2, r3, 0x44);
        __m512i t2 = _mm512_shuffle_i64x2(r0, r1, 0xEE), t3 = _mm512_shuffle_i64x2(r2, r3, 0xEE);
        _mm512_storeu_si512(to, _mm512_shuffle_i64x2(t0, t1, 0x88));
        _mm512_storeu_si512(to + 1, _mm512_shuffle_i64x2(t0, t1, 0xDD));
        _mm512_storeu_si512(to + 2, _mm512_shuffle_i64x2(t2, t3, 0x88));
        _mm512_storeu_si512(to + 3, _mm512_shuffle_i64x2(t2, t3, 0xDD));
    }
    unshuffle_rest(in, out, values, item, 8 * j);
}

AVX512 static inline void planes_512(__m512i bytes, uint8_t *planes, size_t plane)
{
    for (int b = 0; b < 8; b++) {
        uint64_t bits = _mm512_test_epi8_mask(bytes, _mm512_set1_epi8((char)(1 << b)));
        memcpy(planes + b * plane, &bits, 8);
    }
}

AVX512 static void shuffle_512(const uint8_t *in, uint8_t *out, size_t values, size_t item)
{
    size_t plane = values / 8, j = 0;
    for (; j + 8 <= plane; j += 8) {
        const __m512i *from = (const __m512i *)(in + 8 * j * item);
        for (size_t c = 0; c < item; c++) {
            __m512i bytes = _mm512_setzero_si512();
            __m128i by = _mm_cvtsi32_si128((int)(8 * c));
            if (item == 2) {
                __m512i v0 = _mm512_srl_epi16(_mm512_loadu_si512(from), by);
                __m512i v1 = _mm512_srl_epi16(_mm512_loadu_si512(from + 1), by);
                bytes = _mm512_inserti64x4(bytes, _mm512_cvtepi16_epi8(v0), 0);
                bytes = _mm512_inserti64x4(bytes, _mm512_cvtepi16_epi8(v1), 1);
            } else {
                __m512i v0 = _mm512_srl_epi32(_mm512_loadu_si512(from), by);
                __m512i v1 = _mm512_srl_epi32(_mm512_loadu_si512(from + 1), by);
                __m512i v2 = _mm512_srl_epi32(_mm512_loadu_si512(from + 2), by);
                __m512i v3 = _mm512_srl_epi32(_mm512_loadu_si512(from + 3), by);
                bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(v0), 0);
                bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(v1), 1);
                bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(v2), 2);
                bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(v3), 3);
            }
            planes_512(bytes, out + 8 * c * plane + j, plane);
        }
    }
    shuffle_rest(in, out, values, item, 8 * j);
}

AVX512 static float round_512(const float *in, uint16_t *out, size_t values)
{
    __m512 squares = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= values; i += 16) {
        __m512 v = _mm512_loadu_ps(in + i);
        squares = _mm512_fmadd_ps(v, v, squares);
        _mm256_storeu_si256((__m256i *)(out + i), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    if (i < values) {
        uint16_t rest[16];
        __m512 v = _mm512_maskz_loadu_ps((__mmask16)((1u << (values - i)) - 1), in + i);
        squares = _mm512_fmadd_ps(v, v, squares);
        _mm256_storeu_si256((__m256i *)rest, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
        memcpy(out + i, rest, 2 * (values - i));
    }
    return _mm512_reduce_add_ps(squares);
}

/* AVX2: 32 values at once ---------------------------------------------------------------------- */

#define AVX2 __attribute__((target("avx2,f16c")))

/* Byte c of 32 values, from its 8 planes. */
AVX2 static inline __m256i bytes_256(const uint8_t *planes, size_t plane)
{
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2,
                                            2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i own = _mm256_set1_epi64x((int64_t)0x8040201008040201ULL);
    __m256i bytes = _mm256_setzero_si256();
    for (int b = 0; b < 8; b++) {
        int32_t bits;
        memcpy(&bits, planes + b * plane, 4);
        __m256i set = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), spread);
        set = _mm256_cmpeq_epi8(_mm256_and_si256(set, own), own);
        bytes = _mm256_or_si256(bytes, _mm256_and_si256(set, _mm256_set1_epi8((char)(1 << b))));
    }
    return bytes;
}

AVX2 static void unshuffle_256(const uint8_t *in, uint8_t *out, size_t values, size_t item)
{
    size_t plane = values / 8, j = 0;
    for (; j + 4 <= plane; j += 4) {
        __m256i *to = (__m256i *)(out + 8 * j * item);
        __m256i b0 = bytes_256(in + j, plane), b1 = bytes_256(in + 8 * plane + j, plane);
        __m256i low = _mm256_unpacklo_epi8(b0, b1), high = _mm256_unpackhi_epi8(b0, b1);
        if (item == 2) {
            _mm256_storeu_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
            _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
            continue;
        }
        __m256i b2 = bytes_256(in + 16 * plane + j, plane), b3 = bytes_256(in + 24 * plane + j, plane);
        __m256i low2 = _mm256_unpacklo_epi8(b2, b3), high2 = _mm256_unpackhi_epi8(b2, b3);
        __m256i r0 = _mm256_unpacklo_epi16(low, low2), r1 = _mm256_unpackhi_epi16(low, low2);
        __m256i r2 = _mm256_unpacklo_epi16(high, high2), r3 = _mm256_unpackhi_epi16(high, high2);
        _mm256_storeu_si256(to, _mm256_permute2x128_si256(r0, r1, 0x20));
        _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(r2, r3, 0x20));
        _mm256_storeu_si256(to + 2, _mm256_permute2x128_si256(r0, r1, 0x31));
        _mm256_storeu_si256(to + 3, _mm256_permute2x128_si256(r2, r3, 0x31));
    }
    unshuffle_rest(in, out, values, item, 8 * j);
}

AVX2 static inline void planes_256(__m256i bytes, uint8_t *planes, size_t plane)
{
    for (int b = 7; b >= 0; b--) {
        int32_t bits = _mm256_movemask_epi8(bytes);
        memcpy(planes + b * plane, &bits, 4);
        bytes = _mm256_add_epi8(bytes, bytes); /* the next bit on top */
    }
}

AVX2 static void shuffle_256(const uint8_t *in, uint8_t *out, size_t values, size_t item)
{
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t plane = values / 8, j = 0;
    for (; j + 4 <= plane; j += 4) {
        const __m256i *from = (const __m256i *)(in + 8 * j * item);
        for (size_t c = 0; c < item; c++) {
            __m128i by = _mm_cvtsi32_si128((int)(8 * c));
            __m256i bytes;
            if (item == 2) {
                const __m256i low = _mm256_set1_epi16(0xFF);
                __m256i v0 = _mm256_and_si256(_mm256_srl_epi16(_mm256_loadu_si256(from), by), low);
                __m256i v1 = _mm256_and_si256(_mm256_srl_epi16(_mm256_loadu_si256(from + 1), by), low);
                bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(v0, v1), 0xD8);
            } else {
                const __m256i low = _mm256_set1_epi32(0xFF);
                __m256i v0 = _mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(from), by), low);
                __m256i v1 = _mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(from + 1), by), low);
                __m256i v2 = _mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(from + 2), by), low);
                __m256i v3 = _mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(from + 3), by), low);
                bytes = _mm256_packus_epi16(_mm256_packus_epi32(v0, v1), _mm256_packus_epi32(v2, v3));
                bytes = _mm256_permutevar8x32_epi32(bytes, in_order);
            }
            planes_256(bytes, out + 8 * c * plane + j, plane);
        }
    }
    shuffle_rest(in, out, values, item, 8 * j);
}
AVX2 static float round_256(const float *in, uint16_t *out, size_t values)
{
    __m256 squares = _mm256_setzero_ps();
    float last[8] = {0}, sums[8];
    for (size_t i = 0; i < values; i += 8) {
        size_t some = values - i < 8 ? values - i : 8;
        const float *from = in + i;
        if (some < 8) {
            memcpy(last, from, 4 * some);
            from = last;
        }
        __m256 v = _mm256_loadu_ps(from);
        __m128i rounded = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
        squares = _mm256_add_ps(squares, _mm256_mul_ps(v, v));
        memcpy(out + i, &rounded, 2 * some);
    }
    _mm256_storeu_ps(sums, squares);
    return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}
#endif

/* which of them -------------------------------------------------------------------------------- */

int bits_level(void)
{
#ifdef VECTORS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c"))
        return 1;
#endif
    return 0;
}

struct kernels bits_kernels(int level)
{
    struct kernels found = {NULL, NULL, NULL};
#ifdef VECTORS
    if (level == 1)
        found = (struct kernels){shuffle_256, unshuffle_256, round_256};
    if (level == 2)
        found = (struct kernels){shuffle_512, unshuffle_512, round_512};
#else
    (void)level;
#endif
    return found;
}
