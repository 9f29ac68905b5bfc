/* What is usual in the blocks of a flat vector: of every array of a model, how large its entries are.
 *
 * Typical sizes: 1 to 100 blocks, 1 to 10^6 entries each. */
#include "kernels.h"

/* Positive doubles are in the order of their bits: byte by byte, from the first, the candidates are those that share it with the
 * one looked for. Equal numbers and sorted ones take no longer than others. */
double fl_middle(size_t n, const double *x, double otherwise, uint64_t *scratch)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        const double magnitude = fabs(x[i]);
        memcpy(&scratch[left], &magnitude, sizeof magnitude);
        left += magnitude > 0;
    }
    if (left == 0)
        return otherwise;
    size_t rank = left/2;
    for (int shift = 56; shift >= 0 && left > 1; shift -= 8) {
        size_t counts[256] = {0}, byte = 0, kept = 0;
        for (size_t i = 0; i < left; i++)
            counts[scratch[i] >> shift & 255]++;
        while (rank >= counts[byte])
            rank -= counts[byte++];
        if (counts[byte] == left)
            continue;
        for (size_t i = 0; i < left; i++) {
            const uint64_t bits = scratch[i];
            scratch[kept] = bits;
            kept += (bits >> shift & 255) == byte;
        }
        left = kept;
    }
    double middle;
    memcpy(&middle, scratch, sizeof middle);
    return middle;
}

void fl_usual_scales(size_t n_blocks, const size_t *stops, const double *x, double small, uint64_t *scratch, double *scales)
{
    const double usual = n_blocks > 0 ? fl_middle(stops[n_blocks - 1], x, 1, scratch) : 1;
    for (size_t b = 0, start = 0; b < n_blocks; start = stops[b++]) {
        const double least = fl_middle(stops[b] - start, x + start, usual, scratch)/small;
        for (size_t i = start; i < stops[b]; i++)
            scales[i] = fabs(x[i]) > least ? fabs(x[i]) : least;
    }
}
