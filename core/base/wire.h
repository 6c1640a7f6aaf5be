/* wire.h -- finding where a message ends, before anything else looks at it.
 *
 * Bytes come in pieces. The scan goes over each byte once, keeps nothing but a few counters,
 * and holds every declared size and count against what the limits leave, counts of containers
 * within containers together: five bytes that promise 4 GiB are refused on the spot, and a
 * message is whole, shallow and small before it is decoded.
 *
 * Floor    base.
 * Threads  none.
 * Source   the MessagePack specification.
 */
#ifndef ML_BASE_WIRE_H
#define ML_BASE_WIRE_H

#include "bytes.h"
#include "error.h"

enum { ML_WIRE_DEPTH_MAX = 40 }; /* ML_DEPTH_MAX for data, and the envelope around it */

/* What a message may be. There is no limit of values for those who may append: nothing is
 * made of a value, so the bytes are limit enough. */
typedef struct ml_wire_limits {
    size_t bytes;
    size_t values;  /* scalars and containers; 0 = as many as the bytes allow */
    unsigned depth; /* at most ML_WIRE_DEPTH_MAX */
} ml_wire_limits;

typedef struct ml_wire {
    size_t scanned;                   /* bytes of the message looked at */
    size_t values;                    /* values begun */
    size_t owed;                      /* values promised by open containers, and not begun */
    uint32_t left[ML_WIRE_DEPTH_MAX]; /* the same for each of them */
    unsigned depth;
} ml_wire;

typedef enum ml_wire_found { ML_WIRE_MORE, ML_WIRE_WHOLE, ML_WIRE_BAD } ml_wire_found;

/* Looks at `size` bytes that begin with a message; those looked at before are not looked at
 * again. WHOLE: the message takes wire->scanned bytes, and the scan is ready for the next one
 * after ml_wire_reset. BAD: it never can be a good one; *why says so with its code. */
ml_wire_found ml_wire_scan(ml_wire *wire, const uint8_t *data, size_t size,
                           const ml_wire_limits *limits, ml_error *why);

static inline void ml_wire_reset(ml_wire *wire) { *wire = (ml_wire){0}; }

#endif
