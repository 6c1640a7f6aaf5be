/* follow.c -- what subscriptions and listeners have in common: an id, and a place in the list
 * of the connection that asked for them.
 */
#include <inttypes.h>

#include "inside.h"

ml_code ml_follow_room(ml_call *call)
{
    if (call->conn->subscription_count < SUBSCRIPTIONS_MAX) return ML_OK;
    return ml_error_set(&call->why, ML_LIMIT,
                        "%d subscriptions on one connection; end one, or open another connection",
                        SUBSCRIPTIONS_MAX);
}

void ml_follow_begin(ml_call *call, ml_follower *of, ml_follower **list)
{
    *of = (ml_follower){.next = *list, .conn = call->conn, .id = ++call->server->last_id};
    *list = of;
    call->conn->subscription_count++;
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 1);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->id);
}

ml_follower *ml_follow_find(ml_call *call, const ml_params *params, ml_follower *list, const char *what)
{
    int64_t id = 0;
    if (ml_params_int(params, "subscription", 1, INT64_MAX, &id, NULL, &call->why)) return NULL;
    for (ml_follower *of = list; of != NULL; of = of->next)
        if (of->id == (uint64_t)id) return of;
    ml_error_set(&call->why, ML_NOT_FOUND, "this connection has no %s %" PRId64, what, id);
    return NULL;
}

void ml_follow_end(ml_follower *of, ml_follower **list)
{
    while (*list != of) list = &(*list)->next;
    *list = of->next;
    of->conn->subscription_count--;
}
