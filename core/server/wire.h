/* wire.h -- finding where a message ends, before anything else looks at it.
 *
 * Bytes come in pieces. The scan goes over each byte once, keeps nothing but a few counters,
 * and holds every declared size and count against what the frame limit leaves: five bytes
 * that promise 4 GiB are refused on the spot, and a message is whole, shallow and small
 * before it is decoded.
 *
 * Floor    server. Uses base.
 * Threads  none.
 * Source   the MessagePack specification.
 */
#ifndef ML_SERVER_WIRE_H
#define ML_SERVER_WIRE_H

#include "../base/bytes.h"
#include "../base/error.h"

enum { ML_WIRE_DEPTH_MAX = 40 }; /* ML_DEPTH_MAX for data, and the envelope around it */

typedef struct ml_wire {
    size_t scanned;                   /* bytes of the message looked at */
    uint32_t left[ML_WIRE_DEPTH_MAX]; /* items still to come in each open container */
    unsigned depth;
} ml_wire;

typedef enum ml_wire_found { ML_WIRE_MORE, ML_WIRE_WHOLE, ML_WIRE_BAD } ml_wire_found;

/* Looks at `size` bytes that begin with a message; those looked at before are not looked at
 * again. WHOLE: the message takes wire->scanned bytes, and the scan is ready for the next one
 * after ml_wire_reset. BAD: it never can be a good one; *why says so with its code. */
ml_wire_found ml_wire_scan(ml_wire *wire, const uint8_t *data, size_t size, size_t limit, ml_error *why);

static inline void ml_wire_reset(ml_wire *wire) { *wire = (ml_wire){0}; }

#endif
