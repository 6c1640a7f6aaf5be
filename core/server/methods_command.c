/* methods_command.c -- command and state: a worker decides or folds, the daemon admits, and
 * answers when what it speaks of is on the disk.
 *
 *     command ─▶ done before? ─▶ worker ─┬─ decided ─▶ admitted ─▶ on the disk ─▶ answered
 *                                   ▲    ├─ refused ─▶ what it rests on is on the disk ─▶ answered
 *                                   │    └─ decided by rules that are not active any more ─┐
 *                                   └──── forget ◀─ the stream has moved ◀─────────────────┘
 *
 * A state that was decided on may hold events that were admitted and are not on the disk yet. So
 * whatever is told waits until everything that was admitted before is. Where such events are given
 * up, what rests on them is asked again.
 *
 * Of the commands for one stream one is decided at a time, in the order they came: the next one
 * when the worker knows what became of the one before. requests.c has what is asked for,
 * decisions.c what is to be written.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "../store/event.h"
#include "../store/store.h"
#include "commands.h"
#include "rules.h"

enum { TRIES_MAX = 8 }; /* of a command whose stream moves, before that is its answer */

/* ---- ending ----------------------------------------------------------------------- */

static void free_command(ml_command *c)
{
    c->server->commands->bytes -= c->ask.params.size;
    ml_buf_free(&c->ask.params);
    ml_buf_free(&c->result);
    ml_buf_free(&c->events);
    free(c);
}

/* Calls `each` for all who wait for this command; then it is gone. */
static void end_command(ml_command *c, void (*each)(const ml_later *later, const void *what),
                        const void *what)
{
    ml_commands_pass_turn(c);
    if (c->command_id.size > 0) ml_commands_leave(c);
    each(&c->later, what);
    ml_later_end(&c->later);
    while (c->twins != NULL) {
        ml_command_twin *one = c->twins;
        c->twins = one->next;
        each(&one->later, what);
        ml_later_end(&one->later);
        free(one);
    }
    free_command(c);
}

typedef struct refusal {
    ml_code code;
    const char *sentence;
    ml_bytes more;
} refusal;

static void tell_refusal(const ml_later *later, const void *what)
{
    const refusal *r = what;
    ml_later_explain(later, r->code, r->sentence, r->more);
}

static void refuse(ml_command *c, ml_code code, const char *sentence, ml_bytes more)
{
    end_command(c, tell_refusal, &(refusal){code, sentence, more});
}

static void tell_result(const ml_later *later, const void *what)
{
    const ml_buf *result = what;
    if (result->size > USUAL_BYTES && ml_later_overfull(later)) {
        ml_later_refuse(later, ML_LIMIT,
                        "over 16 MiB of answers wait to be read; read them, then ask again");
        return;
    }
    ml_buf *out = ml_later_answer(later);
    if (out != NULL) ml_buf_add(out, result->data, result->size);
}

static void pack_natural(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

typedef struct written {
    const ml_buf *events;
    uint32_t count;
    bool duplicate;
} written;

/* The events as they are stored, in the shape that each wants them in. */
static void tell_events(const ml_later *later, const void *what)
{
    const written *w = what;
    ml_buf *out = ml_later_answer(later);
    ml_unpack cursor = ml_unpack_from(ml_buf_view(w->events));
    ml_event event = {0};
    if (out == NULL) return;
    ml_pack_map(out, w->duplicate ? 4 : 3);
    ml_pack_text(out, "events");
    ml_pack_array(out, w->count);
    for (uint32_t n = 0; n < w->count; n++) {
        const uint8_t *from = cursor.at;
        bool good = ml_unpack_skip(&cursor) &&
                    ml_event_decode((ml_bytes){from, (size_t)(cursor.at - from)}, &event);
        ML_ASSERT(good);
        ml_selection_pack_event(later->conn->maps, out, &event);
    }
    pack_natural(out, "position", event.position);
    pack_natural(out, "revision", event.revision);
    if (!w->duplicate) return;
    ml_pack_text(out, "duplicate");
    ml_pack_bool(out, true);
}

/* ---- done before ------------------------------------------------------------------ */

/* Gathers what the command has written. NOT_FOUND: nothing. */
static ml_code gather_written(ml_command *c, ml_error *why)
{
    char space[ML_TAG_BYTES_MAX];
    ml_bytes tag = ml_commands_tag(c, space);
    ml_query_item item = {.tags = &tag, .tag_count = 1};
    ml_selection selection = {.query = {&item, 1}, .system = true, .limit = ML_APPEND_EVENTS_MAX};
    ml_cursor *cursor;
    ml_event event;
    ml_code code = ml_read(c->server->store, &selection, &cursor);
    c->count = 0;
    ml_buf_clear(&c->events);
    while (!code && (code = ml_next(cursor, &event)) == ML_OK) {
        if (!ml_bytes_equal(event.stream, ml_commands_stream(c))) {
            code = ml_error_set(why, ML_CONDITION_FAILED,
                                "the command_id was used for a command on %.*s; make a new one",
                                ML_SHOW(event.stream));
            break;
        }
        ml_buf_add(&c->events, event.wire.data, event.wire.size);
        c->count++;
    }
    ml_cursor_free(cursor);
    if (code == ML_END && c->events.failed) return ml_error_memory(why, "events");
    if (code == ML_END) return c->count > 0 ? ML_OK : ML_NOT_FOUND;
    return code == ML_CONDITION_FAILED ? code
                                       : ml_error_retell(why, code, ml_why(c->server->store));
}

/* True if it was done before, and has been answered. */
static bool answer_done(ml_command *c)
{
    ml_error why;
    ml_code code = gather_written(c, &why);
    if (code == ML_NOT_FOUND) return false;
    if (code)
        refuse(c, code, why.sentence, (ml_bytes){0});
    else
        end_command(c, tell_events, &(written){&c->events, c->count, true});
    return true;
}

/* ---- admitted --------------------------------------------------------------------- */

static void forget(ml_command *c)
{
    ml_buf stream = {0};
    ml_pack_str(&stream, ml_commands_stream(c));
    if (!stream.failed) ml_workers_tell(c->server, c->worker, "forget", ml_buf_view(&stream), 1);
    ml_buf_free(&stream);
}

static void settled(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    ml_command *c = context;
    if (!code) {
        c->server->appended += receipt->last - receipt->first + 1;
        end_command(c, tell_events, &(written){&c->events, c->count, false});
        return;
    }
    ml_error retold;
    ml_error_retell(&retold, code, why);
    /* The worker was told of events that are none. */
    c->server->commands->epoch++;
    forget(c);
    refuse(c, code, retold.sentence, (ml_bytes){0});
}

/* The worker goes on from there without reading the log. */
static void tell_admitted(ml_command *c)
{
    ml_error why;
    ml_buf told = {0};
    if (ml_store_admitted(c->server->store, c->count, &c->events, &why) == ML_OK)
        ml_pack_bin(&told, ml_buf_view(&c->events));
    if (told.size > 0 && !told.failed)
        ml_workers_tell(c->server, c->worker, "admitted", ml_buf_view(&told), 1);
    else
        forget(c);
    ml_buf_free(&told);
    ml_commands_pass_turn(c);
}

/* The stream has moved, by an append or before a worker was started again. When all that is
 * admitted can be read, it is decided once more. */
static void decide_again(ml_command *c, const char *sentence)
{
    if (++c->tries >= TRIES_MAX) {
        refuse(c, ML_WRONG_EXPECTED_REVISION, sentence, (ml_bytes){0});
        return;
    }
    forget(c);
    ml_commands_wait(c, ml_store_staged(c->server->store), false);
}

static void submit(ml_command *c, const ml_proposal *proposal)
{
    ml_server *server = c->server;
    ml_error why;
    ml_code code = ml_submit(server->store, proposal, settled, c);
    if (code == ML_OK) {
        tell_admitted(c);
        return;
    }
    ml_error_retell(&why, code, ml_why(server->store));
    if (code == ML_WRONG_EXPECTED_REVISION)
        decide_again(c, why.sentence);
    else if (code == ML_LIMIT)
        ml_commands_wait(c, ml_store_staged(server->store), false);
    else if (code != ML_CONDITION_FAILED || !answer_done(c))
        refuse(c, code, why.sentence, (ml_bytes){0});
}

/* ---- decided ---------------------------------------------------------------------- */

/* Nothing is to be written: the stream is where it was. */
static void answer_nothing(ml_command *c, int64_t expected)
{
    ml_head head = {0};
    ML_IGNORE(ml_get_head(c->server->store, ml_commands_stream(c),
                          &head)); /* a stream that has none is said below */
    ml_pack_map(&c->result, 3);
    ml_pack_text(&c->result, "events");
    ml_pack_array(&c->result, 0);
    pack_natural(&c->result, "position", head.position);
    ml_pack_text(&c->result, "revision");
    if (expected >= 0)
        ml_pack_int(&c->result, expected);
    else
        ml_pack_nil(&c->result);
    ml_commands_wait(c, ml_store_staged(c->server->store), true);
}

/* Did rules decide that are active no more, or not for long? */
static bool is_outdated(const ml_command *c, ml_bytes hash)
{
    const ml_pack_unit *unit =
        ml_packs_unit(ml_rules_active(c->server), (ml_bytes){c->unit, strlen(c->unit)});
    return ml_rules_changing(c->server) || unit == NULL || !ml_bytes_equal(unit->hash, hash);
}

/* Once more, by the rules that are active then. Where none are on their way, that ends. */
static void decide_by_others(ml_command *c)
{
    if (!ml_rules_changing(c->server) && !ml_rules_loading(c->server) && ++c->tries >= TRIES_MAX)
        refuse(c, ML_INTERNAL,
               "the active rules are not those that their event in $rules tells of; load them again",
               (ml_bytes){0});
    else
        ml_commands_wait(c, ml_store_staged(c->server->store), false);
}

static void take_decision(ml_command *c, ml_bytes decided)
{
    char space[ML_TAG_BYTES_MAX];
    ml_error why;
    ml_write write;
    if (is_outdated(c, ml_unpack_find_str(decided, "hash"))) {
        decide_by_others(c);
        return;
    }
    ml_code code = ml_decisions_read(c, decided, space, &write, &why);
    if (code) {
        refuse(c, code, why.sentence, (ml_bytes){0});
        return;
    }
    if (c->count == 0) {
        answer_nothing(c, write.expected);
        return;
    }
    ml_bytes tag = c->command_id.size > 0 ? ml_commands_tag(c, space) : (ml_bytes){0};
    ml_query_item item = {.tags = &tag, .tag_count = 1};
    ml_query once = {&item, 1};
    ml_buf_clear(&c->events);
    submit(c,
           &(ml_proposal){.writes = &write, .count = 1, .condition = tag.size > 0 ? &once : NULL});
}

/* {refused} as it came, or {state, revision, position}. */
static void keep_result(ml_command *c, ml_bytes result, uint64_t until)
{
    ml_buf_clear(&c->result);
    ml_buf_add(&c->result, result.data, result.size);
    if (c->result.failed)
        refuse(c, ML_NO_MEMORY, "out of memory for an answer", (ml_bytes){0});
    else
        ml_commands_wait(c, until, true);
}

static void take_state(ml_command *c, ml_bytes result)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(result, "position"));
    int64_t position = 0;
    ML_IGNORE(!ml_unpack_int(&cursor, &position)); /* nil: no event at all */
    keep_result(c, result, position > 0 ? (uint64_t)position : 0);
}

/* ---- refused, and recorded -------------------------------------------------------- */

static void settled_refusal(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    ml_command *c = context;
    if (code) {
        settled(context, code, receipt, why);
        return;
    }
    c->server->appended++;
    end_command(c, tell_result, &c->result);
}

/* A refusal whose aggregate wants it known becomes an event of `$refused-account`: one that rests on what was
 * admitted before, and is told when both are on the disk. What no event can hold is told as others are. */
static void record_refusal(ml_command *c, ml_bytes refused, ml_bytes record)
{
    char stream[ML_STREAM_BYTES_MAX];
    ml_error why;
    int size = snprintf(stream, sizeof stream, "$refused-%s", strchr(c->unit, '/') + 1);
    ml_draft draft = {.type = ML_STR("CommandRefused"), .data = record};
    ml_write write = {.stream = {stream, (size_t)size}, .expected = ML_ANY, .events = &draft, .count = 1};
    ml_buf_clear(&c->result);
    ml_pack_map(&c->result, 1);
    ml_pack_text(&c->result, "refused");
    ml_buf_add(&c->result, refused.data, refused.size);
    if (c->result.failed) {
        refuse(c, ML_NO_MEMORY, "out of memory for an answer", (ml_bytes){0});
        return;
    }
    ml_code code = ml_submit(c->server->store, &(ml_proposal){.writes = &write, .count = 1},
                             settled_refusal, c);
    ml_error_retell(&why, code, ml_why(c->server->store));
    if (code == ML_OK)
        ml_commands_pass_turn(c);
    else if (code == ML_TOO_LARGE || code == ML_BAD_REQUEST)
        ml_commands_wait(c, ml_store_staged(c->server->store), true);
    else if (code == ML_LIMIT)
        ml_commands_wait(c, ml_store_staged(c->server->store), false);
    else
        refuse(c, code, why.sentence, (ml_bytes){0});
}

static void take_refusal(ml_command *c, ml_bytes result)
{
    ml_bytes refused = ml_unpack_find(result, "refused"), record = ml_unpack_find(result, "record");
    if (record.size > 0) record_refusal(c, refused, record);
    else keep_result(c, result, ml_store_staged(c->server->store));
}

static void asked(ml_ask *own, ml_code code, ml_bytes result, const char *sentence)
{
    ml_command *c = (ml_command *)own;
    if (code) {
        refuse(c, code, sentence, result);
        return;
    }
    ml_bytes decided = ml_unpack_find(result, "decided");
    if (c->state)
        take_state(c, result);
    else if (decided.size > 0)
        take_decision(c, decided);
    else if (ml_unpack_find(result, "refused").size > 0)
        take_refusal(c, result);
    else
        refuse(c, ML_INTERNAL, "a worker's answer is neither a decision nor a refusal",
               (ml_bytes){0});
}

static ml_code refuse_draining(ml_error *why)
{
    return ml_error_set(why, ML_SHUTTING_DOWN,
                        "the daemon is stopping; send the command again when it is back");
}

static void ask(ml_command *c)
{
    ml_error why = {.code = ML_OK};
    ml_requests_stamp(c);
    ml_code code = ml_rules_check_unit(c->server, (ml_bytes){c->unit, strlen(c->unit)}, &why);
    if (!code && !c->state && c->server->draining) code = refuse_draining(&why);
    c->epoch = c->server->commands->epoch;
    ml_buf_clear(&c->result);
    if (!code) code = ml_workers_ask(c->server, c->worker, &c->ask, &why);
    if (code) refuse(c, code, why.sentence, (ml_bytes){0});
}

/* It has waited long enough. What it was told rests on events that may be none by now. */
static void go_on(ml_command *c)
{
    if (c->told && c->epoch == c->server->commands->epoch)
        end_command(c, tell_result, &c->result);
    else
        ask(c);
}

/* ---- the request ------------------------------------------------------------------ */

static ml_command *new_command(ml_call *call, const ml_params *params, bool state)
{
    ml_command *c = calloc(1, sizeof *c);
    if (c == NULL) {
        ml_error_memory(&call->why, "a command");
        return NULL;
    }
    c->server = call->server;
    c->go_on = go_on;
    c->state = state;
    c->ask = (ml_ask){
        .method = state ? "state" : "command", .unit = c->unit, .count = 1, .asked = asked};
    ml_code code = ml_requests_read(c, params, &call->why);
    c->server->commands->bytes += c->ask.params.size;
    if (!code) return c;
    free_command(c);
    return NULL;
}

/* The same is under way: whoever asks waits for its answer. */
static ml_ended join(ml_call *call, ml_command *first, bool explain)
{
    ml_command_twin *one = malloc(sizeof *one);
    if (one == NULL) {
        ml_error_memory(&call->why, "a command");
        return ML_REFUSED;
    }
    *one = (ml_command_twin){.next = first->twins, .later = ml_later_begin(call, 0)};
    one->later.explain = explain;
    first->twins = one;
    return ML_ANSWERED;
}

static ml_code check_serving(const ml_call *call, bool state, ml_error *why)
{
    if (!state && call->server->draining) return refuse_draining(why);
    if (call->server->commands->bytes > ML_COMMANDS_BYTES_MAX)
        return ml_error_set(why, ML_LIMIT, "commands under way hold %d MiB; send fewer at once",
                            ML_COMMANDS_BYTES_MAX >> 20);
    return ML_OK;
}

static ml_ended begin(ml_call *call, const ml_params *params, bool state)
{
    bool explain = false;
    if (check_serving(call, state, &call->why)) return ML_REFUSED;
    if (ml_params_bool(params, "explain", &explain, &call->why)) return ML_REFUSED;
    ml_command *c = new_command(call, params, state);
    if (c == NULL) return ML_REFUSED;
    ml_command *first =
        c->command_id.size > 0 ? ml_commands_twin(call->server, c->command_id) : NULL;
    if (first != NULL) {
        bool same = ml_bytes_equal(ml_commands_stream(first), ml_commands_stream(c));
        if (!same)
            ml_error_set(&call->why, ML_CONDITION_FAILED,
                         "the command_id is that of a command under way on %s; make a new one",
                         first->stream);
        free_command(c);
        return same ? join(call, first, explain) : ML_REFUSED;
    }
    c->later = ml_later_begin(call, 0);
    c->later.explain = explain;
    if (c->command_id.size > 0) ml_commands_enter(c);
    if (c->command_id.size > 0 && answer_done(c)) return ML_ANSWERED;
    if (state || ml_commands_take_turn(c)) ask(c);
    return ML_ANSWERED;
}

ml_ended ml_methods_command(ml_call *call, const ml_params *params)
{
    return begin(call, params, false);
}

ml_ended ml_methods_state(ml_call *call, const ml_params *params)
{
    return begin(call, params, true);
}
