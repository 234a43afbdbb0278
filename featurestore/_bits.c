/* Bit shuffles of 2- and 4-byte values with the vector units of the processor at hand, and the loops
 * over the blocks of many records around them. Plain C without Python: featurestore/native.py calls it
 * through ctypes, which releases Python's lock. The layout is that of HDF5's filter 32008; LZ4 itself is
 * hdf5plugin's, handed in as a function. Where a compiler or a processor offers none of this,
 * bits_level() is 0 and nothing else here is called.
 *
 * A block of n values (n a multiple of 8) is 8 planes a byte of a value, each of n bits: plane b of byte
 * c stands at (8 c + b) n / 8 and holds bit b of byte c of every value, the first value in the lowest bit.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* LZ4_decompress_safe: source, target, bytes of the source, room of the target → bytes made, or < 0. */
typedef int (*decompress_fn)(const char *, char *, int, int);
/* LZ4_compress_default: source, target, bytes of the source, room of the target → bytes made, or 0. */
typedef int (*compress_fn)(const char *, char *, int, int);

typedef void (*kernel)(const uint8_t *in, uint8_t *out, size_t values, size_t item);

EXPORT void *PyInit__bits(void) { return NULL; } /* what a build of extensions expects; never called */

/* portable: what is left of a block when no whole vector is ------------------------------------- */

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

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define VECTORS 1
#include <immintrin.h>

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

/* AVX2: 32 values at once ---------------------------------------------------------------------- */

#define AVX2 __attribute__((target("avx2")))

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
#endif

/* which of them -------------------------------------------------------------------------------- */

/* The best of what is here for this processor: 2 AVX-512, 1 AVX2, 0 nothing. */
EXPORT int bits_level(void)
{
#ifdef VECTORS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        return 2;
    if (__builtin_cpu_supports("avx2"))
        return 1;
#endif
    return 0;
}

static kernel unshuffling(int level)
{
#ifdef VECTORS
    return level >= 2 ? unshuffle_512 : unshuffle_256;
#else
    (void)level;
    return NULL;
#endif
}

static kernel shuffling(int level)
{
#ifdef VECTORS
    return level >= 2 ? shuffle_512 : shuffle_256;
#else
    (void)level;
    return NULL;
#endif
}

/* records: blocks of 4 bytes size (big-endian) and so many bytes ---------------------------------- */

static size_t big_endian(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* The first `wanted` of `whole` values behind a chunk's header, or less than all of them: false. */
static int decode_record(const uint8_t *at, const uint8_t *end, uint8_t *target, size_t wanted,
                         size_t whole, size_t block, size_t room, size_t item, uint8_t *planes,
                         uint8_t *spare, kernel unshuffle, decompress_fn decompress)
{
    size_t done = 0;
    while (done < wanted) {
        size_t values = whole - done < block ? (whole - done) / 8 * 8 : block;
        if (!values) { /* the last values % 8 stand as they are */
            if ((size_t)(end - at) < (whole - done) * item)
                return 0;
            memcpy(target + done * item, at, (wanted - done) * item);
            return 1;
        }
        if (end - at < 4 || (size_t)(end - at) - 4 < big_endian(at))
            return 0;
        int size = (int)big_endian(at), bytes = (int)(values * item);
        if (size < 0 || decompress((const char *)at + 4, (char *)planes, size, bytes) != bytes)
            return 0;
        at += 4 + size;
        if (done + values <= room) {
            unshuffle(planes, target + done * item, values, item);
        } else {
            unshuffle(planes, spare, values, item);
            memcpy(target + done * item, spare, (wanted - done) * item);
        }
        done += values;
    }
    return 1;
}

/* Decode `count` records; the first that does not decode, or -1.
 *
 * Of record i: its blocks begin at sources[i] and end before ends[i]; the first wanted[i] of `whole`
 * values of `item` bytes go to targets[i], and zeros behind them up to `room` values. blocks[i]: values a
 * block, a multiple of 8 above 0.
 */
EXPORT int64_t bits_decode(int64_t count, const uint8_t *const *sources, const uint8_t *const *ends,
                           uint8_t *const *targets, const int64_t *wanted, const int64_t *blocks,
                           int64_t whole, int64_t room, int64_t item, int level,
                           decompress_fn decompress)
{
    kernel unshuffle = unshuffling(level);
    uint8_t *memory = NULL;
    size_t held = 0;
    int64_t bad = -1;
    for (int64_t i = 0; i < count && bad < 0; i++) {
        size_t block = (size_t)(blocks[i] < whole ? blocks[i] : whole);
        if (block * item > held) {
            free(memory);
            held = block * item;
            memory = malloc(2 * held);
        }
        if ((held && !memory) ||
            !decode_record(sources[i], ends[i], targets[i], wanted[i], whole, blocks[i], room, item,
                           memory, memory + held, unshuffle, decompress))
            bad = i;
        else
            memset(targets[i] + wanted[i] * item, 0, (room - wanted[i]) * item);
    }
    free(memory);
    return bad;
}

/* The blocks of a record of `whole` values, `block` a block; bytes used of `room`, or -1. */
EXPORT int64_t bits_encode(const uint8_t *record, uint8_t *target, int64_t room, int64_t whole,
                           int64_t block, int64_t item, int level, compress_fn compress)
{
    kernel shuffle = shuffling(level);
    uint8_t *planes = malloc((size_t)(block * item)), *at = target;
    int64_t done = 0;
    while (planes && whole - done >= 8) {
        int64_t values = whole - done < block ? (whole - done) / 8 * 8 : block;
        int64_t left = room - (at - target) - 4;
        shuffle(record + done * item, planes, values, item);
        int size = left < 1 ? 0
                            : compress((const char *)planes, (char *)at + 4, (int)(values * item),
                                       (int)(left < INT32_MAX ? left : INT32_MAX));
        if (size <= 0)
            break;
        for (int b = 0; b < 4; b++)
            at[b] = (uint8_t)((unsigned)size >> (24 - 8 * b));
        at += 4 + size;
        done += values;
    }
    free(planes);
    int64_t rest = (whole - done) * item;
    if (!planes || whole - done >= 8 || room - (at - target) < rest)
        return -1;
    memcpy(at, record + done * item, (size_t)rest);
    return at - target + rest;
}
