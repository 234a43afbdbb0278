/* Kernels over the vector units of a processor (_bits.c), and loops over records with them (_records.c).
 *
 * Plain C without Python: featurestore/native.py calls it through ctypes, which releases Python's lock.
 * LZ4 is hdf5plugin's, handed in as a function. Where a compiler or a processor offers no kernels,
 * bits_level() is 0 and nothing else here is called.
 */

#ifndef DRIN_FS_BITS_H
#define DRIN_FS_BITS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* A bit shuffle, or what undoes it, of a block: `values`, a multiple of 8, of `item` bytes (2 or 4). The
 * layout is that of HDF5's filter 32008: plane b of byte c stands at (8 c + b) values / 8 and holds bit b
 * of byte c of every value, the first value in the lowest bit.
 */
typedef void (*shuffling)(const uint8_t *in, uint8_t *out, size_t values, size_t item);

/* float32 to float16, to the nearest; the sum of the squares. */
typedef float (*rounding)(const float *in, uint16_t *out, size_t values);

struct kernels {
    shuffling shuffle, unshuffle;
    rounding round;
};

/* Those of a level, at most bits_level() and above 0. */
struct kernels bits_kernels(int level);

/* The best level of this processor: 2 AVX-512, 1 AVX2, 0 nothing. */
EXPORT int bits_level(void);

#endif
