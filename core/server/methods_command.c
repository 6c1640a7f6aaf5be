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
 * when the worker knows what became of the one before.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "../base/text.h"
#include "../store/event.h"
#include "../store/store.h"
#include "commands.h"
#include "rules.h"

enum { TRIES_MAX = 8 }; /* of a command whose stream moves, before that is its answer */

static ml_bytes stream_of(const ml_command *c)
{
    return (ml_bytes){c->stream, c->stream_size};
}

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

/* The tag that the command's events carry. */
static ml_bytes tag_of(const ml_command *c, char space[ML_TAG_BYTES_MAX])
{
    memcpy(space, "$command:", 9);
    memcpy(space + 9, c->command_id.data, c->command_id.size);
    return (ml_bytes){space, 9 + c->command_id.size};
}

/* Gathers what the command has written. NOT_FOUND: nothing. */
static ml_code gather_written(ml_command *c, ml_error *why)
{
    char space[ML_TAG_BYTES_MAX];
    ml_bytes tag = tag_of(c, space);
    ml_query_item item = {.tags = &tag, .tag_count = 1};
    ml_selection selection = {.query = {&item, 1}, .system = true, .limit = ML_APPEND_EVENTS_MAX};
    ml_cursor *cursor;
    ml_event event;
    ml_code code = ml_read(c->server->store, &selection, &cursor);
    c->count = 0;
    ml_buf_clear(&c->events);
    while (!code && (code = ml_next(cursor, &event)) == ML_OK) {
        if (!ml_bytes_equal(event.stream, stream_of(c))) {
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
    ml_pack_str(&stream, stream_of(c));
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

static ml_code broken(ml_error *why)
{
    return ml_error_set(why, ML_INTERNAL, "a worker's decision is none that can be admitted");
}

static ml_code read_tags(ml_server *server, const ml_command *c, ml_bytes raw, ml_draft *draft,
                         size_t *used, char *space, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(raw);
    uint32_t count = 0;
    bool named = c->command_id.size > 0;
    if (raw.size > 0 && !ml_unpack_array(&cursor, &count)) return broken(why);
    if (count + named > ML_TAGS_MAX)
        return ml_error_set(why, ML_TOO_LARGE,
                            "an event has %" PRIu32 " tags, and the command's own; the limit is %d",
                            count, ML_TAGS_MAX);
    ml_bytes *tags = server->tags + *used;
    for (uint32_t n = 0; n < count; n++)
        if (!ml_unpack_str(&cursor, &tags[n])) return broken(why);
    if (named) tags[count] = tag_of(c, space);
    draft->tags = tags;
    draft->tag_count = count + named;
    *used += draft->tag_count;
    return ML_OK;
}

/* Events of the decision as the daemon's drafts, views into it. */
static ml_code read_drafts(ml_command *c, ml_bytes events, char *space, ml_error *why)
{
    ml_server *server = c->server;
    ml_unpack cursor = ml_unpack_from(events);
    size_t used = 0;
    if (!ml_unpack_array(&cursor, &c->count) || c->count > ML_APPEND_EVENTS_MAX) return broken(why);
    for (uint32_t n = 0; n < c->count; n++) {
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) return broken(why);
        ml_bytes map = {from, (size_t)(cursor.at - from)};
        ml_unpack number = ml_unpack_from(ml_packs_find(map, "schema"));
        int64_t schema = 1;
        if (number.at != number.end &&
            (!ml_unpack_int(&number, &schema) || schema < 1 || schema > INT32_MAX))
            return broken(why);
        ml_draft *draft = &server->drafts[n];
        *draft = (ml_draft){.type = ml_packs_text(map, "type"),
                            .data = ml_packs_find(map, "data"),
                            .meta = ml_packs_find(map, "meta"),
                            .schema = (uint32_t)schema};
        ml_code code = read_tags(server, c, ml_packs_find(map, "tags"), draft, &used, space, why);
        if (code) return code;
    }
    return ML_OK;
}

static ml_code read_expected(ml_bytes raw, int64_t *expected, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(raw);
    ml_bytes word;
    *expected = ML_NO_STREAM;
    if (ml_unpack_str(&cursor, &word))
        return ml_bytes_equal(word, ML_STR("no_stream")) ? ML_OK : broken(why);
    return ml_unpack_int(&cursor, expected) && *expected >= 0 ? ML_OK : broken(why);
}

/* Nothing is to be written: the stream is where it was. */
static void answer_nothing(ml_command *c, int64_t expected)
{
    ml_head head = {0};
    ML_IGNORE(ml_get_head(c->server->store, stream_of(c),
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
    ml_write write = {.stream = stream_of(c), .events = c->server->drafts};
    if (is_outdated(c, ml_packs_text(decided, "hash"))) {
        decide_by_others(c);
        return;
    }
    ml_code code = read_expected(ml_packs_find(decided, "expected"), &write.expected, &why);
    if (!code) code = read_drafts(c, ml_packs_find(decided, "events"), space, &why);
    /* A worker writes to the stream that the command is for, whatever it says. */
    if (!code && !ml_bytes_equal(ml_packs_text(decided, "stream"), stream_of(c)))
        code = broken(&why);
    if (code) {
        refuse(c, code, why.sentence, (ml_bytes){0});
        return;
    }
    if (c->count == 0) {
        answer_nothing(c, write.expected);
        return;
    }
    ml_bytes tag = c->command_id.size > 0 ? tag_of(c, space) : (ml_bytes){0};
    ml_query_item item = {.tags = &tag, .tag_count = 1};
    ml_query once = {&item, 1};
    write.count = c->count;
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
    ml_unpack cursor = ml_unpack_from(ml_packs_find(result, "position"));
    int64_t position = 0;
    ML_IGNORE(!ml_unpack_int(&cursor, &position)); /* nil: no event at all */
    keep_result(c, result, position > 0 ? (uint64_t)position : 0);
}

static void asked(ml_ask *own, ml_code code, ml_bytes result, const char *sentence)
{
    ml_command *c = (ml_command *)own;
    if (code) {
        refuse(c, code, sentence, result);
        return;
    }
    ml_bytes decided = ml_packs_find(result, "decided");
    if (c->state)
        take_state(c, result);
    else if (decided.size > 0)
        take_decision(c, decided);
    else if (ml_packs_find(result, "refused").size > 0)
        keep_result(c, result, ml_store_staged(c->server->store));
    else
        refuse(c, ML_INTERNAL, "a worker's answer is neither a decision nor a refusal",
               (ml_bytes){0});
}

/* How many events the stream has by now: a worker that was told of fewer looks into the log. */
static void stamp_next(ml_command *c)
{
    ml_head head;
    bool exists = ml_get_head(c->server->store, stream_of(c), &head) == ML_OK;
    ml_buf *params = &c->ask.params;
    ml_put_be64(params->data + params->size - 8, exists ? head.revision + 1 : 0);
}

/* The last of a request, of fixed width. */
static void pack_next(ml_buf *out)
{
    static const uint8_t later[9] = {0xcf};
    ml_pack_text(out, "next");
    ml_buf_add(out, later, sizeof later);
}

static void ask(ml_command *c)
{
    ml_error why = {.code = ML_OK};
    stamp_next(c);
    ml_code code = ml_rules_check_unit(c->server, (ml_bytes){c->unit, strlen(c->unit)}, &why);
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

static ml_code read_names(ml_command *c, const ml_params *params, ml_error *why)
{
    ml_bytes aggregate = {0}, id = {0};
    ml_code code = ml_params_str(params, "aggregate", &aggregate, why);
    if (!code) code = ml_params_str(params, "id", &id, why);
    if (code) return code;
    bool named = aggregate.size > 0 && aggregate.size <= ML_COMMANDS_NAME_MAX &&
                 memchr(aggregate.data, '-', aggregate.size) == NULL;
    if (!named) return ml_error_set(why, ML_BAD_REQUEST, "aggregate is no name without a '-'");
    if (id.size == 0)
        return ml_error_set(why, ML_BAD_REQUEST, "id is missing: which %.*s?", ML_SHOW(aggregate));
    c->stream_size = aggregate.size + 1 + id.size;
    if (c->stream_size > ML_STREAM_BYTES_MAX)
        return ml_error_set(why, ML_TOO_LARGE,
                            "aggregate and id make a name of %zu bytes, the limit is %d",
                            c->stream_size, ML_STREAM_BYTES_MAX);
    memcpy(c->stream, aggregate.data, aggregate.size);
    c->stream[aggregate.size] = '-';
    memcpy(c->stream + aggregate.size + 1, id.data, id.size);
    code = ml_event_check_name(stream_of(c), ML_STREAM_BYTES_MAX, "stream", why);
    if (code) return code;
    snprintf(c->unit, sizeof c->unit, "aggregate/%.*s", ML_SHOW(aggregate));
    c->worker = ml_workers_shard(c->server, stream_of(c));
    return ML_OK;
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The client's meta; what a command with an id causes is found by that. */
static ml_code pack_meta(ml_buf *out, const ml_command *c, ml_bytes meta, ml_error *why)
{
    static const char *const names[] = {"causation_id", "correlation_id"};
    ml_unpack cursor = ml_unpack_from(meta);
    uint32_t count = 0;
    if (meta.size > 0 && !ml_unpack_map(&cursor, &count))
        return ml_error_set(why, ML_BAD_REQUEST, "meta is no map");
    size_t begin = ml_pack_begin(out);
    for (size_t n = 0; n < 2 && c->command_id.size > 0; n++) {
        if (ml_packs_find(meta, names[n]).size > 0) continue;
        ml_pack_text(out, names[n]);
        ml_pack_str(out, c->command_id);
        count++;
    }
    ml_buf_add(out, cursor.at, (size_t)(cursor.end - cursor.at));
    ml_pack_end_map(out, begin, count);
    return ML_OK;
}

static void pack_raw(ml_buf *out, const char *name, ml_bytes value)
{
    ml_pack_text(out, name);
    if (value.size > 0)
        ml_buf_add(out, value.data, value.size);
    else
        ml_pack_nil(out);
}

static ml_code pack_command(ml_command *c, const ml_params *params, ml_error *why)
{
    ml_buf *out = &c->ask.params;
    uint8_t dice[16];
    ml_bytes name = {0};
    ml_code code = ml_params_str(params, "name", &name, why);
    if (!code && name.size == 0)
        code = ml_error_set(why, ML_BAD_REQUEST, "name is missing: which command?");
    if (code) return code;
    if (getrandom(dice, sizeof dice, 0) != sizeof dice)
        return ml_error_set(why, ML_IO, "the system gives no random bytes");
    ml_pack_map(out, 8);
    pack_raw(out, "aggregate", ml_params_raw(params, "aggregate"));
    pack_raw(out, "id", ml_params_raw(params, "id"));
    pack_raw(out, "name", ml_params_raw(params, "name"));
    pack_raw(out, "args", ml_params_raw(params, "args"));
    ml_pack_text(out, "meta");
    code = pack_meta(out, c, ml_params_raw(params, "meta"), why);
    ml_pack_text(out, "now");
    ml_pack_int(out, now_us());
    ml_pack_text(out, "dice");
    ml_pack_bin(out, (ml_bytes){dice, sizeof dice});
    pack_next(out);
    return code;
}

static ml_code pack_state(ml_command *c, const ml_params *params)
{
    static const char *const names[] = {"aggregate", "id", "at", "as_of"};
    uint32_t count = 0;
    size_t begin = ml_pack_begin(&c->ask.params);
    for (size_t n = 0; n < 4; n++) {
        ml_bytes value = ml_params_raw(params, names[n]);
        if (value.size == 0) continue;
        pack_raw(&c->ask.params, names[n], value);
        count++;
    }
    pack_next(&c->ask.params);
    ml_pack_end_map(&c->ask.params, begin, count + 1);
    return ML_OK;
}

static ml_code read_command_id(ml_command *c, const ml_params *params, ml_error *why)
{
    ml_bytes given = {0};
    ml_code code = ml_params_str(params, "command_id", &given, why);
    if (code || given.size == 0) return code;
    if (given.size > ML_COMMANDS_ID_MAX)
        return ml_error_set(why, ML_TOO_LARGE, "command_id is %zu bytes, the limit is %d",
                            given.size, ML_COMMANDS_ID_MAX);
    memcpy(c->command_id_space, given.data, given.size);
    c->command_id = (ml_bytes){c->command_id_space, given.size};
    return ML_OK;
}

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
    c->ask = (ml_ask){.method = state ? "state" : "command", .count = 1, .asked = asked};
    ml_code code = read_names(c, params, &call->why);
    if (!code && !state) code = read_command_id(c, params, &call->why);
    if (!code) code = state ? pack_state(c, params) : pack_command(c, params, &call->why);
    if (!code && c->ask.params.failed) code = ml_error_memory(&call->why, "a command");
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
    *one = (ml_command_twin){.next = first->twins, .later = ml_later_begin(call)};
    one->later.explain = explain;
    first->twins = one;
    return ML_ANSWERED;
}

static ml_code check_serving(const ml_call *call, bool state, ml_error *why)
{
    if (!state && call->server->draining)
        return ml_error_set(why, ML_SHUTTING_DOWN,
                            "the daemon is stopping; send the command again when it is back");
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
        bool same = ml_bytes_equal(stream_of(first), stream_of(c));
        if (!same)
            ml_error_set(&call->why, ML_CONDITION_FAILED,
                         "the command_id is that of a command under way on %s; make a new one",
                         first->stream);
        free_command(c);
        return same ? join(call, first, explain) : ML_REFUSED;
    }
    c->later = ml_later_begin(call);
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
