/* dice.h -- random numbers that come again: all that is random here is said by a seed.
 *
 * Floor    spec/crash.
 */
#ifndef ML_CRASH_DICE_H
#define ML_CRASH_DICE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ml_dice {
    uint64_t state;
} ml_dice;

/* Source: SplitMix64, by Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators" (2014). */
static inline uint64_t ml_dice_roll(ml_dice *dice)
{
    uint64_t z = (dice->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number below `sides`. */
static inline uint32_t ml_dice_below(ml_dice *dice, uint32_t sides)
{
    return (uint32_t)((ml_dice_roll(dice) >> 32) * sides >> 32);
}

/* True once in `sides` throws. */
static inline bool ml_dice_one_in(ml_dice *dice, uint32_t sides)
{
    return ml_dice_below(dice, sides) == 0;
}

#endif
