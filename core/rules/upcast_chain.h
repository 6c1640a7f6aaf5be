/* upcast_chain.h -- one file of upcasters: its type, and a step for every schema but the latest.
 *
 * Floor    rules, private to upcast.c.
 * Memory   a chain owns its texts and steps; functions stay in the sandbox's registry.
 */
#ifndef ML_RULES_UPCAST_CHAIN_H
#define ML_RULES_UPCAST_CHAIN_H

#include <lua.h>

#include "../script/desk.h"
#include "upcast.h"
#include "upcast_step.h"

typedef struct ml_chain_step {
    ml_upcast_step *plain; /* NULL: a function */
    int function;          /* in the registry */
    bool wants_event;      /* it takes more than data */
    uint32_t line;         /* where it begins; 0 = unknown */
} ml_chain_step;

typedef struct ml_upcast_chain {
    char *file;
    char *text; /* of type */
    ml_bytes type;
    int name; /* the type as a string of Lua, in the registry */
    uint32_t latest;
    ml_chain_step *steps; /* [schema - 1] leads from it to the next */
} ml_upcast_chain;

/* Runs protected. Reads the table at `index`; false if it has not the shape, which is said in
 * `to`. `desk` is used meanwhile. The chain is to be freed in any case. */
ML_MUST_USE bool ml_upcast_chain_read(lua_State *L, int index, ml_upcast_chain *chain,
                                      ml_desk *desk, ml_diagnostics *to);
void ml_upcast_chain_free(ml_upcast_chain *chain);

/* Says an error of shape about a chain. */
void ml_upcast_chain_refuse(const ml_upcast_chain *chain, ml_diagnostics *to, const char *code,
                            uint32_t line, const char *format, ...) ML_FORMAT(5, 6);

#endif
