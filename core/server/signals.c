/* signals.c -- transient signals: whoever listens now gets it, nobody waits for anybody.
 *
 * Listeners hang in a tree of subject tokens: each node has its children in the order of their
 * names, one for `*`, and the listeners that end there, with or without a `>`. A signal that a connection
 * cannot take at once waits in the listener's own ring, bounded in signals and in bytes; a full
 * ring loses one by its policy, counts it, and the next delivery is preceded by a `gap`.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "inside.h"

typedef enum policy { DROP_OLD, DROP_NEW, DISCONNECT } policy;

typedef struct listener listener;

typedef struct node {
    ml_bytes name; /* own copy */
    struct node *parent;
    struct node **children;
    size_t count, capacity;
    struct node *star;
    listener *here, *rest; /* that end here; that end in '>' here */
} node;

struct ml_subjects {
    node root;
};

/* A signal that waits: everything but the subscription's id, packed. */
typedef struct waiting {
    ml_buf body;
} waiting;

struct listener {
    ml_follower link;
    listener *prev, *next; /* of its node */
    node *node;
    listener **list; /* the node's list it is in */
    policy policy;
    waiting *ring; /* made with the first signal that has to wait */
    size_t size, first, count;
    size_t bytes; /* of those that wait */
    uint64_t missed, missed_told;
};

/* ---- subjects --------------------------------------------------------------------------------- */

/* Splits into tokens; false if it is no subject. Wildcards only in patterns. */
static bool split(ml_bytes subject, bool pattern, ml_bytes tokens[SUBJECT_TOKENS_MAX], size_t *count)
{
    const char *text = subject.data;
    size_t from = 0;
    *count = 0;
    if (subject.size == 0 || subject.size > SUBJECT_BYTES_MAX || !ml_unpack_utf8(subject)) return false;
    for (size_t n = 0; n <= subject.size; n++) {
        if (n < subject.size && text[n] != '.') {
            if ((unsigned char)text[n] <= ' ') return false;
            continue;
        }
        if (n == from || *count == SUBJECT_TOKENS_MAX) return false;
        ml_bytes token = {text + from, n - from};
        bool wild = memchr(token.data, '*', token.size) != NULL || memchr(token.data, '>', token.size) != NULL;
        if (wild && !pattern) return false;
        if (wild && token.size > 1) return false; /* it looks like what it is not */
        if (wild && *(const char *)token.data == '>' && n < subject.size) return false;
        tokens[(*count)++] = token;
        from = n + 1;
    }
    return true;
}

static ml_code refuse_subject(const char *what, ml_error *why)
{
    return ml_error_set(why, ML_BAD_REQUEST,
                        "the %s is no subject: up to %d tokens with a '.' between them, %d bytes in all, no spaces%s",
                        what, SUBJECT_TOKENS_MAX, SUBJECT_BYTES_MAX,
                        strcmp(what, "pattern") == 0 ? "; '*' is any one whole token, '>' at the end the rest" : ", no '*' or '>'");
}

static int compare(ml_bytes a, ml_bytes b)
{
    int differs = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return differs != 0 ? differs : (a.size > b.size) - (a.size < b.size);
}

/* Where a child of that name is, or would be: halving, since thousands may have inboxes side by
 * side. */
static size_t find(const node *of, ml_bytes name)
{
    size_t from = 0, to = of->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare(of->children[middle]->name, name) < 0) from = middle + 1;
        else to = middle;
    }
    return from;
}

static node *child(const node *of, ml_bytes name)
{
    size_t at = find(of, name);
    return at < of->count && ml_bytes_equal(of->children[at]->name, name) ? of->children[at] : NULL;
}

static node *make_child(node *of, ml_bytes name)
{
    node *made = child(of, name);
    if (made != NULL) return made;
    if (of->count == of->capacity) {
        size_t capacity = of->capacity > 0 ? of->capacity * 2 : 4;
        node **children = realloc(of->children, capacity * sizeof *children);
        if (children == NULL) return NULL;
        of->children = children;
        of->capacity = capacity;
    }
    made = calloc(1, sizeof *made + name.size);
    if (made == NULL) return NULL;
    memcpy(made + 1, name.data, name.size);
    made->name = (ml_bytes){made + 1, name.size};
    made->parent = of;
    size_t at = find(of, name);
    memmove(of->children + at + 1, of->children + at, (of->count - at) * sizeof *of->children);
    of->children[at] = made;
    of->count++;
    return made;
}

static node *star_of(node *of)
{
    if (of->star != NULL) return of->star;
    of->star = calloc(1, sizeof *of->star);
    if (of->star != NULL) of->star->parent = of;
    return of->star;
}

/* Takes away what nobody needs now that a listener has gone: the tree is as large as what is
 * listened to, and not as what ever was. */
static void prune(node *at)
{
    while (at->parent != NULL && at->here == NULL && at->rest == NULL && at->star == NULL && at->count == 0) {
        node *of = at->parent;
        if (of->star == at) {
            of->star = NULL;
        } else {
            size_t n = find(of, at->name);
            memmove(of->children + n, of->children + n + 1, (--of->count - n) * sizeof *of->children);
        }
        free(at->children);
        free(at);
        at = of;
    }
}

/* The node where a pattern ends, *rest if in '>'; NULL if memory is refused. */
static node *place(node *root, const ml_bytes *tokens, size_t count, bool *rest)
{
    node *at = root;
    for (size_t n = 0; n < count; n++) {
        char first = *(const char *)tokens[n].data;
        bool single = tokens[n].size == 1;
        *rest = single && first == '>';
        if (*rest) return at;
        node *next = single && first == '*' ? star_of(at) : make_child(at, tokens[n]);
        if (next == NULL) {
            prune(at);
            return NULL;
        }
        at = next;
    }
    return at;
}

static void free_node(node *of)
{
    for (size_t n = 0; n < of->count; n++) {
        free_node(of->children[n]);
        free(of->children[n]);
    }
    free(of->children);
    if (of->star != NULL) free_node(of->star);
    free(of->star);
}

void ml_signals_free(ml_server *server)
{
    if (server->subjects == NULL) return;
    free_node(&server->subjects->root);
    free(server->subjects);
    server->subjects = NULL;
}

/* ---- listeners ----------------------------------------------------------------------------------- */

static void drop_first(listener *of)
{
    ml_buf *body = &of->ring[of->first].body;
    of->bytes -= body->capacity;
    of->link.conn->server->buffered -= body->capacity;
    ml_buf_free(body);
    of->first = (of->first + 1) % of->size;
    of->count--;
}

static void free_listener(listener *of)
{
    if (of->prev != NULL) of->prev->next = of->next;
    else *of->list = of->next;
    if (of->next != NULL) of->next->prev = of->prev;
    prune(of->node);
    while (of->count > 0) drop_first(of);
    free(of->ring);
    ml_follow_end(&of->link, &of->link.conn->listeners);
    free(of);
}

void ml_signals_drop(ml_conn *conn)
{
    while (conn->listeners != NULL) free_listener((listener *)conn->listeners);
}

static ml_code read_policy(const ml_params *params, policy *chosen, ml_error *why)
{
    ml_bytes word = {0};
    ml_code code = ml_params_str(params, "policy", &word, why);
    if (code || word.size == 0 || ml_bytes_equal(word, ML_STR("drop_old"))) return code;
    if (ml_bytes_equal(word, ML_STR("drop_new"))) *chosen = DROP_NEW;
    else if (ml_bytes_equal(word, ML_STR("disconnect"))) *chosen = DISCONNECT;
    else return ml_error_set(why, ML_BAD_REQUEST, "policy is none of drop_old, drop_new and disconnect");
    return ML_OK;
}

static ml_code make_listener(ml_call *call, const ml_bytes *tokens, size_t count, size_t size, policy chosen,
                             listener **made)
{
    ml_server *server = call->server;
    if (server->subjects == NULL) server->subjects = calloc(1, sizeof *server->subjects);
    bool rest = false;
    node *at = server->subjects == NULL ? NULL : place(&server->subjects->root, tokens, count, &rest);
    listener *of = at == NULL ? NULL : calloc(1, sizeof *of);
    if (of == NULL) {
        if (at != NULL) prune(at);
        return ml_error_memory(&call->why, "a listener");
    }
    listener **list = rest ? &at->rest : &at->here;
    *of = (listener){.next = *list, .node = at, .list = list, .policy = chosen, .size = size};
    if (of->next != NULL) of->next->prev = of;
    *list = of;
    *made = of;
    return ML_OK;
}

ml_ended ml_methods_listen(ml_call *call, const ml_params *params)
{
    ml_bytes subject = {0}, tokens[SUBJECT_TOKENS_MAX];
    size_t count;
    int64_t buffer = SIGNALS_BUFFER;
    policy chosen = DROP_OLD;
    listener *of = NULL;
    ml_code code = ml_params_str(params, "subject", &subject, &call->why);
    if (!code && !split(subject, true, tokens, &count)) code = refuse_subject("pattern", &call->why);
    if (!code) code = ml_params_int(params, "buffer", 1, SIGNALS_BUFFER_MAX, &buffer, NULL, &call->why);
    if (!code) code = read_policy(params, &chosen, &call->why);
    if (!code) code = ml_follow_room(call);
    if (!code) code = make_listener(call, tokens, count, (size_t)buffer, chosen, &of);
    if (code) return ML_REFUSED;
    ml_follow_begin(call, &of->link, &call->conn->listeners);
    return ML_ANSWERED;
}

ml_ended ml_methods_unlisten(ml_call *call, const ml_params *params)
{
    listener *of = (listener *)ml_follow_find(call, params, call->conn->listeners, "listener");
    if (of == NULL) return ML_REFUSED;
    uint64_t missed = of->missed;
    free_listener(of);
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 1);
    ml_pack_text(out, "missed");
    ml_pack_int(out, (int64_t)missed);
    return ML_ANSWERED;
}

/* ---- delivery --------------------------------------------------------------------------------------- */

/* A signal being told: its packed entries, without the subscription. */
typedef struct telling {
    ml_buf body;
    uint32_t entries;
    uint64_t listeners;
} telling;

static void tell_gap(listener *of)
{
    if (of->missed == of->missed_told) return;
    ml_buf *out = ml_dispatch_push(of->link.conn, "gap");
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->link.id);
    ml_pack_text(out, "missed");
    ml_pack_int(out, (int64_t)(of->missed - of->missed_told));
    of->missed_told = of->missed;
}

static void hand_over(listener *of, ml_bytes body, uint32_t entries)
{
    tell_gap(of);
    ml_buf *out = ml_dispatch_push(of->link.conn, "signal");
    ml_pack_map(out, entries + 1);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->link.id);
    ml_buf_add(out, body.data, body.size);
}

static bool is_full(const listener *of, const telling *t)
{
    return of->count == of->size || of->bytes + t->body.size > SIGNALS_BYTES_MAX ||
           of->link.conn->server->buffered > BUFFERS_MAX;
}

/* Makes room, by the policy; false if there is none. */
static bool make_room(listener *of, const telling *t)
{
    if (of->ring == NULL) of->ring = calloc(of->size, sizeof *of->ring);
    if (of->ring == NULL) return false;
    while (of->policy == DROP_OLD && of->count > 0 && is_full(of, t)) {
        drop_first(of);
        of->missed++;
    }
    return !is_full(of, t);
}

/* The first byte of a waiting body says how many entries it has. */
static void wait_in_ring(listener *of, const telling *t)
{
    ml_buf body = {0};
    if (make_room(of, t)) {
        ml_buf_byte(&body, (uint8_t)t->entries);
        ml_buf_add(&body, t->body.data, t->body.size);
    }
    if (body.size == 0 || body.failed) {
        ml_buf_free(&body);
        of->missed++;
        of->link.conn->overrun |= of->policy == DISCONNECT; /* closed within a second */
        return;
    }
    of->ring[(of->first + of->count++) % of->size].body = body;
    of->bytes += body.capacity;
    of->link.conn->server->buffered += body.capacity;
}

static void deliver(listener *list, telling *t)
{
    for (listener *of = list, *next; of != NULL; of = next) {
        next = of->next;
        t->listeners++;
        if (of->count == 0 && !ml_conn_congested(of->link.conn)) hand_over(of, ml_buf_view(&t->body), t->entries);
        else wait_in_ring(of, t);
    }
}

static void match(const node *at, const ml_bytes *tokens, size_t count, telling *t)
{
    if (count == 0) {
        deliver(at->here, t);
        return;
    }
    deliver(at->rest, t);
    if (at->star != NULL) match(at->star, tokens + 1, count - 1, t);
    const node *named = child(at, tokens[0]);
    if (named != NULL) match(named, tokens + 1, count - 1, t);
}

void ml_signals_drain(ml_conn *conn)
{
    for (ml_follower *at = conn->listeners; at != NULL; at = at->next) {
        listener *of = (listener *)at;
        while (of->count > 0 && !ml_conn_congested(conn)) {
            const ml_buf *body = &of->ring[of->first].body;
            hand_over(of, (ml_bytes){body->data + 1, body->size - 1}, body->data[0]);
            drop_first(of);
        }
        bool over = of->policy == DISCONNECT && of->missed > 0;
        if (!over) continue;
        ml_conn_close(conn);
        return;
    }
}

ml_ended ml_methods_signal(ml_call *call, const ml_params *params)
{
    static const uint8_t nil = 0xc0;
    ml_bytes subject = {0}, reply = {0}, data = ml_params_raw(params, "data"), tokens[SUBJECT_TOKENS_MAX], unused[SUBJECT_TOKENS_MAX];
    size_t count, reply_count;
    ml_code code = ml_params_str(params, "subject", &subject, &call->why);
    if (!code) code = ml_params_str(params, "reply", &reply, &call->why);
    if (!code && !split(subject, false, tokens, &count)) code = refuse_subject("subject", &call->why);
    if (!code && reply.size > 0 && !split(reply, false, unused, &reply_count)) code = refuse_subject("reply", &call->why);
    if (!code && data.size > ML_EVENT_BYTES_MAX)
        code = ml_error_set(&call->why, ML_TOO_LARGE, "the data is %zu bytes, the limit is %d", data.size, ML_EVENT_BYTES_MAX);
    if (!code && data.size > 0) code = ml_unpack_check(data, "data", &call->why);
    if (code) return ML_REFUSED;
    if (data.size == 0) data = (ml_bytes){&nil, 1};
    telling t = {.entries = reply.size > 0 ? 3 : 2};
    ml_pack_text(&t.body, "subject");
    ml_pack_str(&t.body, subject);
    ml_pack_text(&t.body, "data");
    ml_buf_add(&t.body, data.data, data.size);
    if (reply.size > 0) {
        ml_pack_text(&t.body, "reply");
        ml_pack_str(&t.body, reply);
    }
    if (t.body.failed) code = ml_error_memory(&call->why, "a signal");
    else if (call->server->subjects != NULL) match(&call->server->subjects->root, tokens, count, &t);
    ml_buf_free(&t.body);
    if (!code && reply.size > 0 && t.listeners == 0)
        code = ml_error_set(&call->why, ML_NO_LISTENERS, "nobody listens to %.*s", ML_SHOW(subject));
    if (code) return ML_REFUSED;
    if (!call->request) return ML_ANSWERED;
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 1);
    ml_pack_text(out, "listeners");
    ml_pack_int(out, (int64_t)t.listeners);
    return ML_ANSWERED;
}
