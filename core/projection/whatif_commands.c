/* whatif_commands.c -- a command that was recorded is decided once more, by the new version.
 *
 * What was recorded (rules/decide.c) is all that a decision depends on besides the state: name,
 * args, meta, now, dice. Outcomes are held against each other as bytes:
 *
 *     {events: [{type, schema, tags, data, meta}]}    without the version in meta, and the record
 *     {refused: {code, detail}}
 *     {failed: "account.lua:12: …"}
 *
 * History may have been decided by rules that are not active any more. What the active ones would
 * say now just as the new ones is no difference between them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../base/pack.h"
#include "../base/unpack.h"
#include "../store/event.h"
#include "../view/field.h"
#include "whatif_inside.h"

enum { THEN, BEFORE, AFTER };

/* ---- the record ------------------------------------------------------------------------- */

static bool read_text(ml_bytes map, const char *name, ml_bytes *text)
{
    ml_unpack at = ml_unpack_from(ml_field_find(map, (ml_bytes){name, strlen(name)}));
    return ml_unpack_str(&at, text);
}

static bool read_dice(ml_bytes record, const uint8_t **dice)
{
    ml_unpack at = ml_unpack_from(ml_field_find(record, ML_STR("dice")));
    ml_token token = ml_unpack_next(&at);
    *dice = token.bytes.data;
    return token.kind == ML_KIND_BIN && token.bytes.size == 16;
}

static bool read_now(ml_bytes record, int64_t *now)
{
    ml_unpack at = ml_unpack_from(ml_field_find(record, ML_STR("now")));
    return ml_unpack_int(&at, now);
}

ml_bytes ml_again_record(const ml_event *event)
{
    ml_bytes record = ml_field_find(event->meta, ML_STR("command")), name;
    const uint8_t *dice;
    int64_t now;
    bool good = record.size > 0 && read_text(record, "name", &name) &&
                read_dice(record, &dice) && read_now(record, &now);
    return good ? record : (ml_bytes){0};
}

bool ml_again_is_sure(const ml_again *again, ml_bytes record)
{
    ml_bytes name;
    if (again->apart || !read_text(record, "name", &name)) return false;
    const ml_handler *handler = ml_unit_find(&again->units[1]->commands, name);
    return handler != NULL && ml_alike_command(again->alike, handler);
}

static uint32_t read_count(ml_bytes record)
{
    int64_t count = 1;
    ml_unpack at = ml_unpack_from(ml_field_find(record, ML_STR("count")));
    if (!ml_unpack_int(&at, &count) || count < 1 || count > ML_RULES_DECIDED_MAX) return 1;
    return (uint32_t)count;
}

/* ---- outcomes --------------------------------------------------------------------------- */

static bool is_one_of(ml_bytes key, const char *const *names)
{
    for (; *names != NULL; names++)
        if (ml_bytes_equal(key, (ml_bytes){*names, strlen(*names)})) return true;
    return false;
}

/* Who decided, and what was recorded of it, is not what was decided. */
static void pack_meta(ml_buf *out, ml_bytes meta)
{
    static const char *const left_out[] = {"unit", "hash", "command", NULL};
    ml_unpack at = ml_unpack_from(meta);
    uint32_t pairs = 0, kept = 0;
    size_t begin = ml_pack_begin(out);
    if (!ml_unpack_map(&at, &pairs)) pairs = 0;
    for (; pairs > 0; pairs--) {
        ml_unpack key = at;
        ml_bytes name = {0}, raw = ml_unpack_value(&at), value = ml_unpack_value(&at);
        if (ml_unpack_str(&key, &name) && is_one_of(name, left_out)) continue;
        ml_buf_add(out, raw.data, raw.size);
        ml_buf_add(out, value.data, value.size);
        kept++;
    }
    ml_pack_end_map(out, begin, kept);
}

/* The daemon's own tag of a command_id is not the command's. */
static void pack_tags(ml_buf *out, ml_bytes tags)
{
    ml_unpack at = ml_unpack_from(tags);
    uint32_t count = 0, kept = 0;
    ml_bytes tag;
    size_t begin = ml_pack_begin(out);
    if (!ml_unpack_array(&at, &count)) count = 0;
    for (; count > 0 && ml_unpack_str(&at, &tag); count--) {
        if (ml_bytes_begins(tag, ML_STR("$command:"))) continue;
        ml_pack_str(out, tag);
        kept++;
    }
    ml_pack_end_array(out, begin, kept);
}

static void pack_event(ml_buf *out, ml_bytes type, int64_t schema, ml_bytes tags, ml_bytes data,
                       ml_bytes meta)
{
    ml_pack_map(out, 5);
    ml_pack_text(out, "type");
    ml_pack_str(out, type);
    ml_pack_text(out, "schema");
    ml_pack_int(out, schema);
    ml_pack_text(out, "tags");
    pack_tags(out, tags);
    ml_pack_text(out, "data");
    ml_buf_add(out, data.data, data.size);
    ml_pack_text(out, "meta");
    pack_meta(out, meta);
}

static void begin_events(ml_buf *out)
{
    ml_buf_clear(out);
    ml_pack_map(out, 1);
    ml_pack_text(out, "events");
}

static void pack_refusal(ml_buf *out, ml_bytes from)
{
    ml_bytes code = ml_field_find(from, ML_STR("code")),
             detail = ml_field_find(from, ML_STR("detail"));
    ml_buf_clear(out);
    ml_pack_map(out, 1);
    ml_pack_text(out, "refused");
    ml_pack_map(out, 2);
    ml_pack_text(out, "code");
    ml_buf_add(out, code.data, code.size);
    ml_pack_text(out, "detail");
    if (detail.size > 0) ml_buf_add(out, detail.data, detail.size);
    else ml_pack_nil(out);
}

static void pack_failure(ml_buf *out, const char *sentence)
{
    ml_buf_clear(out);
    ml_pack_map(out, 1);
    ml_pack_text(out, "failed");
    ml_pack_text(out, sentence);
}

/* What is in the log. */
static ml_code pack_recorded(ml_again *again, ml_bytes stream, uint64_t revision, uint32_t count)
{
    ml_cursor *cursor = NULL;
    ml_event event;
    ml_buf *out = &again->outcomes[THEN];
    ml_selection selection = {
        .stream = stream, .has_from = true, .from = revision, .limit = count};
    ml_code code = ml_read(again->work->ask->store, &selection, &cursor);
    begin_events(out);
    size_t begin = ml_pack_begin(out);
    uint32_t n = 0;
    for (; !code && (code = ml_next(cursor, &event)) == ML_OK; n++)
        pack_event(out, event.type, event.schema, event.tags, event.data, event.meta);
    ml_pack_end_array(out, begin, n);
    ml_cursor_free(cursor);
    return code == ML_END ? ML_OK : ml_whatif_store_failed(again->work, code);
}

/* What decide.c has packed. */
static void pack_answer(ml_again *again, ml_buf *out)
{
    ml_bytes answer = ml_buf_view(&again->answer),
             refused = ml_field_find(answer, ML_STR("refused"));
    if (refused.size > 0) {
        pack_refusal(out, refused);
        return;
    }
    ml_unpack at = ml_unpack_from(ml_field_find(answer, ML_STR("decided.events")));
    uint32_t count = 0;
    if (!ml_unpack_array(&at, &count)) count = 0;
    begin_events(out);
    ml_pack_array(out, count);
    for (; count > 0; count--) {
        ml_bytes map = ml_unpack_value(&at), type = {0};
        int64_t schema = 1;
        ml_unpack number = ml_unpack_from(ml_field_find(map, ML_STR("schema")));
        bool good = ml_unpack_int(&number, &schema) && read_text(map, "type", &type);
        ML_ASSERT(good); /* decide.c has packed it */
        pack_event(out, type, schema, ml_field_find(map, ML_STR("tags")),
                   ml_field_find(map, ML_STR("data")), ml_field_find(map, ML_STR("meta")));
    }
}

/* ---- deciding --------------------------------------------------------------------------- */

/* `version`: BEFORE or AFTER. The fault is of kind NONE if it was decided. */
static void decide(ml_again *again, int version, ml_bytes stream, ml_bytes id, ml_bytes record,
                   ml_fault *fault)
{
    int side = version - BEFORE;
    ml_unit *unit = again->units[side];
    ml_buf *out = &again->outcomes[version];
    ml_bytes name = {0};
    ml_error why;
    ml_decision d = {.chains = again->work->packs[side]->upcasts,
                     .stream = stream,
                     .id = id,
                     .state = again->states[side],
                     .args = ml_field_find(record, ML_STR("args")),
                     .meta = ml_field_find(record, ML_STR("meta")),
                     .next = again->next};
    fault->kind = ML_FAULT_NONE;
    bool good = read_text(record, "name", &name) && read_dice(record, &d.dice) &&
                read_now(record, &d.now);
    ML_ASSERT(good); /* whoever found the record has looked */
    d.handler = ml_unit_find(&unit->commands, name);
    if (d.handler == NULL) {
        pack_failure(out, "there is no such command any more");
        return;
    }
    ml_buf_clear(&again->answer);
    ml_guard_start(ML_RULES_COMMAND_MS);
    good = ml_aggregate_decide(unit, &d, &again->answer, fault);
    ml_guard_start(ML_RULES_FOLD_MS);
    if (good) {
        pack_answer(again, out);
        return;
    }
    ml_whatif_blame(unit, fault);
    ML_IGNORE(ml_fault_tell(fault, &why)); /* it is the sentence that is wanted */
    pack_failure(out, why.sentence);
}

static bool is_same(const ml_again *again, int one, int other)
{
    return ml_bytes_equal(ml_buf_view(&again->outcomes[one]), ml_buf_view(&again->outcomes[other]));
}

static bool has(const ml_again *again, int version, const char *what)
{
    ml_bytes outcome = ml_buf_view(&again->outcomes[version]);
    return ml_field_find(outcome, (ml_bytes){what, strlen(what)}).size > 0;
}

static uint64_t *counter_of(ml_again *again)
{
    ml_whatif_counts *counts = &again->work->counts;
    bool was = has(again, THEN, "events"), is = has(again, AFTER, "events");
    if (was && !is) return &counts->refused;
    return !was && is ? &counts->allowed : &counts->others;
}

static ml_code tell(ml_again *again, uint64_t position, ml_bytes stream, ml_bytes name,
                    const ml_fault *fault)
{
    ml_buf key = {0};
    if (!ml_tell_wanted(again->work, position, counter_of(again))) return ML_OK;
    const ml_handler *handler = ml_unit_find(&again->units[1]->commands, name);
    ml_pack_str(&key, stream);
    ml_difference d = {.kind = "command",
                       .key = ml_buf_view(&key),
                       .before = ml_buf_view(&again->outcomes[THEN]),
                       .after = ml_buf_view(&again->outcomes[AFTER]),
                       .first = position,
                       .command = name,
                       .where = handler != NULL ? handler->where : NULL,
                       .after_fault = fault->kind != ML_FAULT_NONE ? fault : NULL};
    ml_code code = key.failed ? ml_error_memory(again->work->why, "a difference")
                              : ml_tell_add(again->work, &d);
    ml_buf_free(&key);
    return code;
}

/* outcomes[THEN] is there. All but the position is copied: telling reads the log. */
static ml_code decide_and_tell(ml_again *again, uint64_t position, ml_bytes stream, ml_bytes id,
                               ml_bytes record)
{
    ml_fault fault, unused;
    ml_bytes name = {0};
    again->work->counts.commands++;
    decide(again, AFTER, stream, id, record, &fault);
    bool differs = !is_same(again, THEN, AFTER);
    if (differs) decide(again, BEFORE, stream, id, record, &unused);
    for (int n = 0; n < 3; n++)
        if (again->outcomes[n].failed) return ml_error_memory(again->work->why, "a command");
    if (!differs || is_same(again, BEFORE, AFTER)) return ML_OK;
    bool good = read_text(record, "name", &name);
    ML_ASSERT(good);
    return tell(again, position, stream, name, &fault);
}

/* ---- the door --------------------------------------------------------------------------- */

ml_code ml_again_decided(ml_again *again, const ml_event *event, ml_bytes record)
{
    char stream_space[ML_STREAM_BYTES_MAX];
    ml_bytes stream = {stream_space, event->stream.size};
    uint64_t position = event->position, revision = event->revision;
    size_t front = ml_event_category(event->stream).size + 1;
    ml_buf copy = {0};
    ML_ASSERT(event->stream.size <= sizeof stream_space);
    memcpy(stream_space, event->stream.data, event->stream.size);
    ml_buf_add(&copy, record.data, record.size);
    ml_code code = copy.failed ? ml_error_memory(again->work->why, "a command") : ML_OK;
    if (!code)
        code = pack_recorded(again, stream, revision, read_count(ml_buf_view(&copy)));
    ml_bytes id = {stream_space + front, stream.size > front ? stream.size - front : 0};
    if (!code) code = decide_and_tell(again, position, stream, id, ml_buf_view(&copy));
    ml_buf_free(&copy);
    return code;
}

/* The data of a refusal is its record, and what came of it. */
static ml_code decide_refused(ml_again *again, ml_bytes data, uint64_t position, ml_bytes wanted)
{
    char stream_space[ML_STREAM_BYTES_MAX];
    ml_bytes id, name;
    const uint8_t *dice;
    int64_t now;
    size_t front = strlen(again->units[1]->name) + 1;
    bool good = read_text(data, "id", &id) && read_text(data, "name", &name) &&
                read_dice(data, &dice) && read_now(data, &now) &&
                front + id.size <= sizeof stream_space;
    if (!good || (wanted.size > 0 && !ml_bytes_equal(id, wanted))) return ML_OK;
    memcpy(stream_space, again->units[1]->name, front - 1);
    stream_space[front - 1] = '-';
    memcpy(stream_space + front, id.data, id.size);
    ml_bytes stream = {stream_space, front + id.size};
    pack_refusal(&again->outcomes[THEN], data);
    return decide_and_tell(again, position, stream, id, data);
}

ml_code ml_again_refused(ml_again *again, uint64_t position, ml_bytes id)
{
    ml_cursor *cursor = NULL;
    ml_event event;
    ml_buf copy = {0};
    ml_selection at = {.system = true, .has_from = true, .from = position, .limit = 1};
    ml_code code = ml_read(again->work->ask->store, &at, &cursor);
    if (!code) code = ml_next(cursor, &event);
    if (!code) ml_buf_add(&copy, event.data.data, event.data.size);
    ml_cursor_free(cursor);
    if (code) code = ml_whatif_store_failed(again->work, code);
    else if (copy.failed) code = ml_error_memory(again->work->why, "a command");
    else code = decide_refused(again, ml_buf_view(&copy), position, id);
    ml_buf_free(&copy);
    return code;
}

void ml_again_free(ml_again *again)
{
    for (int n = 0; n < 3; n++) ml_buf_free(&again->outcomes[n]);
    ml_buf_free(&again->answer);
}
