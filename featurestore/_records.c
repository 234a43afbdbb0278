/* Records of a store, many a call: blocks of 4 bytes size (big-endian) and so many bytes of LZ4, each of
 * shuffled values, behind a header of 12 bytes (featurestore/bitshuffle.py); see _bits.h.
 */

#include "_bits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LZ4_decompress_safe: source, target, bytes of the source, room of the target → bytes made, or < 0. */
typedef int (*decompress_fn)(const char *, char *, int, int);
/* LZ4_compress_default: source, target, bytes of the source, room of the target → bytes made, or 0. */
typedef int (*compress_fn)(const char *, char *, int, int);

enum { HEADER = 12, SIZE = 4 };

EXPORT void *PyInit__bits(void) { return NULL; } /* what a build of extensions expects; never called */

/* What featurestore/native.py expects: another number when a function takes other arguments. */
EXPORT int bits_interface(void) { return 1; }

static size_t big_endian(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* What is wrong with a chunk; featurestore/native.py has the words. */
enum damage { SOUND, HEADLESS, WRONG_HEADER, CUT_OFF, UNDECODABLE, NO_MEMORY };

/* What the records of one call have in common, and memory for one block of each: its planes, its values. */
struct unpacking {
    size_t whole, room, item; /* values of a record, values of a target, bytes of a value */
    shuffling unshuffle;
    decompress_fn decompress;
    uint8_t *memory;
    size_t held; /* bytes of a block that `memory` has room for, twice */
};

/* The first `wanted` values of the chunk from `at` to `end`, and zeros behind them. */
static enum damage decode_record(struct unpacking *how, const uint8_t *at, const uint8_t *end,
                                 uint8_t *target, size_t wanted)
{
    size_t item = how->item, done = 0;
    if (end - at < HEADER)
        return HEADLESS;
    uint64_t stated = (uint64_t)big_endian(at) << 32 | big_endian(at + 4);
    size_t bytes = big_endian(at + 8), block = bytes / item;
    if (stated != how->whole * item || !bytes || bytes % (8 * item))
        return WRONG_HEADER;
    size_t most = (block < how->whole ? block : how->whole) * item;
    if (most > how->held) {
        free(how->memory);
        how->memory = malloc(2 * most);
        how->held = how->memory ? most : 0;
        if (!how->memory)
            return NO_MEMORY;
    }
    at += HEADER;
    while (done < wanted) {
        size_t left = how->whole - done, values = left < block ? left / 8 * 8 : block;
        uint8_t *here = target + done * item, *spare = how->memory + how->held;
        if (!values) { /* the last values % 8 stand as they are */
            if ((size_t)(end - at) < left * item)
                return CUT_OFF;
            memcpy(here, at, (wanted - done) * item);
            break;
        }
        if (end - at < SIZE || (size_t)(end - at) - SIZE < big_endian(at))
            return CUT_OFF;
        size_t size = big_endian(at);
        if (size > INT32_MAX || values * item > INT32_MAX ||
            how->decompress((const char *)at + SIZE, (char *)how->memory, (int)size,
                            (int)(values * item)) != (int)(values * item))
            return UNDECODABLE;
        at += SIZE + size;
        if (done + values <= how->room) {
            how->unshuffle(how->memory, here, values, item);
        } else {
            how->unshuffle(how->memory, spare, values, item);
            memcpy(here, spare, (wanted - done) * item);
        }
        done += values;
    }
    memset(target + wanted * item, 0, (how->room - wanted) * item);
    return SOUND;
}

/* Decode `count` records; the first that is damaged, and `why`, or -1.
 *
 * Of record i: its chunk begins at sources[i] and ends before ends[i]; the first wanted[i] of `whole` values of
 * `item` bytes go to targets[i], and zeros behind them up to `room` values. Nothing is read beyond a chunk,
 * whatever it holds.
 */
EXPORT int64_t bits_decode(int64_t count, const uint8_t *const *sources, const uint8_t *const *ends,
                           uint8_t *const *targets, const int64_t *wanted, int64_t whole, int64_t room,
                           int64_t item, int level, decompress_fn decompress, int *why)
{
    struct unpacking how = {(size_t)whole, (size_t)room, (size_t)item, bits_kernels(level).unshuffle,
                            decompress, NULL, 0};
    int64_t i = 0;
    *why = SOUND;
    for (; i < count && *why == SOUND; i++)
        *why = decode_record(&how, sources[i], ends[i], targets[i], (size_t)wanted[i]);
    free(how.memory);
    return *why == SOUND ? -1 : i - 1;
}

/* How the records of one call are compressed. */
struct packing {
    size_t whole, block, item; /* values of a record, values of a block, bytes of a value */
    shuffling shuffle;
    compress_fn compress;
    uint8_t *planes; /* room for a block */
    uint8_t *zeros;  /* a block of zeros, compressed, with its size; NULL until there is one */
    size_t zeros_size;
};

/* One block with its size at `at`; the bytes used, or 0 where `room` is too small. */
static size_t encode_block(const struct packing *how, const uint8_t *in, size_t values, uint8_t *at,
                           size_t room)
{
    size_t bytes = values * how->item, most = room < INT32_MAX ? room : INT32_MAX;
    if (room <= SIZE || bytes > INT32_MAX)
        return 0;
    how->shuffle(in, how->planes, values, how->item);
    int size = how->compress((const char *)how->planes, (char *)at + SIZE, (int)bytes, (int)most - SIZE);
    if (size <= 0)
        return 0;
    for (int b = 0; b < 4; b++)
        at[b] = (uint8_t)((unsigned)size >> (24 - 8 * b));
    return SIZE + (size_t)size;
}

/* The blocks of a record that is zero from value `real` on; the bytes used of `room`, or -1. */
static int64_t encode_record(struct packing *how, const uint8_t *record, size_t real, uint8_t *target,
                             size_t room)
{
    size_t done = 0, used = 0;
    while (how->whole - done >= 8) {
        size_t left = how->whole - done, values = left < how->block ? left / 8 * 8 : how->block, size;
        int same = done >= real && values == how->block;
        if (same && how->zeros && how->zeros_size <= room - used) {
            size = how->zeros_size;
            memcpy(target + used, how->zeros, size);
        } else {
            size = encode_block(how, record + done * how->item, values, target + used, room - used);
            if (!size)
                return -1;
            if (same && !how->zeros && (how->zeros = malloc(size))) {
                memcpy(how->zeros, target + used, size);
                how->zeros_size = size;
            }
        }
        used += size;
        done += values;
    }
    size_t rest = (how->whole - done) * how->item;
    if (room - used < rest)
        return -1;
    memcpy(target + used, record + done * how->item, rest);
    return (int64_t)(used + rest);
}

/* Compress the values of a record; the bytes used of `room`, or -1. */
EXPORT int64_t bits_encode(const uint8_t *record, uint8_t *target, int64_t room, int64_t whole,
                           int64_t block, int64_t item, int level, compress_fn compress)
{
    struct packing how = {whole, block, item, bits_kernels(level).shuffle, compress,
                          malloc((size_t)(block * item)), NULL, 0};
    int64_t used = how.planes ? encode_record(&how, record, whole, target, room) : -1;
    free(how.planes);
    return used;
}

/* Round vectors of `width` float32 to float16. norms: the least and the largest sum of squares of one (NaN or
 * infinite makes the largest so), of these and of those that they were of before.
 */
static void round_rows(rounding round, const float *in, uint16_t *out, int64_t rows, int64_t width,
                       float *norms)
{
    for (int64_t row = 0; row < rows; row++) {
        float squares = round(in + row * width, out + row * width, (size_t)width);
        norms[0] = squares < norms[0] ? squares : norms[0];
        norms[1] = squares <= norms[1] || norms[1] != norms[1] ? norms[1] : squares; /* NaN stays */
    }
}

EXPORT void bits_round(const float *in, uint16_t *out, int64_t rows, int64_t width, float *norms,
                       int level)
{
    norms[0] = INFINITY;
    norms[1] = 0;
    round_rows(bits_kernels(level).round, in, out, rows, width, norms);
}

/* Round float32 records to float16 and compress them; the bytes used of `room`, or -1.
 *
 * Record i is rows[i] vectors of `width` values; zeros follow up to `whole` values. Its chunk begins at
 * starts[i], a multiple of `align`, with the 12 bytes of `header`, and has sizes[i] bytes; zeros are
 * between chunks. norms: as of bits_round().
 */
EXPORT int64_t bits_pack(int64_t count, const float *const *records, const int64_t *rows, int64_t width,
                         int64_t whole, int64_t block, const uint8_t *header, uint8_t *target,
                         int64_t room, int64_t align, int64_t *starts, int64_t *sizes, float *norms,
                         int level, compress_fn compress)
{
    rounding round = bits_kernels(level).round;
    struct packing how = {whole, block, 2, bits_kernels(level).shuffle, compress,
                          malloc((size_t)block * 2), NULL, 0};
    uint16_t *halves = malloc((size_t)whole * 2 + 1);
    int64_t used = how.planes && halves ? 0 : -1;
    norms[0] = INFINITY;
    norms[1] = 0;
    for (int64_t i = 0; i < count && used >= 0; i++) {
        int64_t start = (used + align - 1) / align * align, real = rows[i] * width, size;
        round_rows(round, records[i], halves, rows[i], width, norms);
        memset(halves + real, 0, (size_t)(whole - real) * 2);
        if (start + HEADER > room)
            size = -1;
        else
            size = encode_record(&how, (const uint8_t *)halves, real, target + start + HEADER,
                                 room - start - HEADER);
        if (size < 0) {
            used = -1;
            break;
        }
        memset(target + used, 0, start - used);
        memcpy(target + start, header, HEADER);
        starts[i] = start;
        sizes[i] = HEADER + size;
        used = start + HEADER + size;
    }
    free(how.planes);
    free(how.zeros);
    free(halves);
    return used;
}
