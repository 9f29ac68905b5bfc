/* Arrays that are not contiguous and aligned: copying a run of their elements to a buffer and back. Internal to csrc. */
#ifndef FL_LAYOUT_H
#define FL_LAYOUT_H

#include "fallline.h"

/* Copy elements [start, start + n), counted in C order, of item_size bytes each, between the array and a contiguous buffer.
 * The array may be unaligned; it does not overlap the buffer. A NULL layout means contiguous. */
void fl_gather(void *buffer, const char *array, const fl_layout *layout, size_t item_size, size_t start, size_t n);
void fl_scatter(char *array, const fl_layout *layout, const void *buffer, size_t item_size, size_t start, size_t n);

#endif
