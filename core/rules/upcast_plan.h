/* upcast_plan.h -- what a declarative step looks like inside: a tree of the fields it speaks of.
 *
 * upcast_plan.c builds it, upcast_step.c walks it beside the data. Private to those two.
 *
 * Paths are those of the new data; the one place that knows the old names is the root's list of
 * names, where "sum" leads to the field "amount". A move between two names of the root is a
 * rename, so that only moves from or to below the root cost a look ahead.
 *
 * Floor    rules.
 */
#ifndef ML_RULES_UPCAST_PLAN_H
#define ML_RULES_UPCAST_PLAN_H

#include "upcast_step.h"

/* How a field is found in the data. */
typedef struct ml_plan_name {
    ml_bytes text;
    uint8_t field;
    bool renamed; /* the field has another name in the new data … */
    bool arrives; /* … by a move, so that moves from the field do not mean it */
} ml_plan_name;

/* The fields of one map. */
typedef struct ml_plan_level {
    uint64_t fields;       /* a bit for each */
    uint64_t sizes;        /* bit n: a name has n bytes, modulo 64 */
    bool takes;            /* something here or below is moved away */
    uint16_t first, count; /* of its names */
} ml_plan_level;

typedef struct ml_plan_field {
    ml_bytes path;     /* "a.b": for sentences */
    ml_bytes name;     /* "b" */
    ml_bytes packed;   /* the same as MessagePack */
    ml_bytes standard; /* the default; empty: none */
    ml_upcast_kind cast;
    bool drop;
    bool taken;           /* moved away … */
    uint8_t lands;        /* … to this field */
    bool put;             /* something may land here */
    bool arrives;         /* or be renamed to here by a move */
    uint8_t level, below; /* the level it is in; that of its own fields, 0 = none */
    bool fills;           /* there is a default below */
    bool needs;           /* it has to be a map, even if nothing lands below */
    uint64_t puts;        /* fields below where something may land */
} ml_plan_field;

/* A rename, or a move at the root, until it is known what they mean together. */
typedef struct ml_plan_alias {
    ml_bytes from, to;
    bool move;
} ml_plan_alias;

typedef struct ml_plan_text {
    struct ml_plan_text *next;
    uint8_t bytes[];
} ml_plan_text;

/* Level 0 is the data itself. */
struct ml_upcast_step {
    uint32_t field_count, level_count, name_count, alias_count;
    ml_plan_field fields[ML_UPCAST_FIELDS_MAX];
    ml_plan_level levels[ML_UPCAST_FIELDS_MAX + 1];
    ml_plan_name names[2 * ML_UPCAST_FIELDS_MAX];
    ml_plan_alias aliases[ML_UPCAST_FIELDS_MAX];
    bool deepens;        /* what it moves may then nest too deep: that is checked */
    ml_plan_text *texts; /* owns what the views above show */
};

#endif
