/* Random bits, numbered: any of them can be had without those before. */
#ifndef FL_RANDOM_H
#define FL_RANDOM_H

#include <stdint.h>

/* 64 bits for (key, counter): SplitMix64, Steele, Lea & Flood 2014. */
static inline uint64_t fl_draw(uint64_t key, uint64_t counter)
{
    uint64_t z = key + counter*0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30))*0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27))*0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
