/* model.c -- appends by number: made up by dice, packed, answered, recognised. */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAMES_MAX = ML_MODEL_NAME, SMALL = 200 };

ml_model *ml_model_new(ml_siege *siege)
{
    ml_model *model = ml_siege_grow(NULL, sizeof *model);
    *model = (ml_model){.siege = siege, .streams = ML_MODEL_STREAMS, .large = 64 << 10, .count = 1};
    for (size_t n = 0; n < ML_MODEL_STREAMS_MAX; n++)
        model->heads[n] = -1;
    return model;
}

void ml_model_free(ml_model *model)
{
    if (model == NULL) return;
    free(model->attempts);
    free(model->log);
    free(model);
}

void ml_model_stream(unsigned stream, char name[ML_MODEL_NAME])
{
    snprintf(name, NAMES_MAX, "siege%u-%u", stream % ML_MODEL_CATEGORIES, stream);
}

void ml_model_category(unsigned category, char name[ML_MODEL_NAME])
{
    snprintf(name, NAMES_MAX, "siege%u", category);
}

void ml_model_type(unsigned type, char name[ML_MODEL_NAME])
{
    snprintf(name, NAMES_MAX, "Type%u", type);
}

void ml_model_tag(unsigned tag, char name[ML_MODEL_NAME])
{
    snprintf(name, NAMES_MAX, "tag:%u", tag);
}

/* ---- planning ------------------------------------------------------------------------- */

static uint16_t pick_stream(ml_model *model, bool fresh)
{
    ml_dice *dice = &model->siege->dice;
    if (fresh && model->streams < ML_MODEL_STREAMS_MAX) return model->streams++;
    /* Mostly few and busy ones, so that expectations clash. */
    return (uint16_t)ml_dice_below(dice,
                                   ml_dice_one_in(dice, 8) ? model->streams : ML_MODEL_STREAMS);
}

static int64_t pick_expected(ml_model *model, uint16_t stream)
{
    switch (ml_dice_below(&model->siege->dice, 8)) {
    case 0: return ML_NO_STREAM;
    case 1: return ML_STREAM_EXISTS;
    case 2:
    case 3: return model->heads[stream] >= 0 ? model->heads[stream] : ML_NO_STREAM;
    default: return ML_ANY;
    }
}

static void plan_write(ml_model *model, ml_attempt *attempt, size_t n)
{
    ml_dice *dice = &model->siege->dice;
    bool fresh = !model->plain && ml_dice_one_in(dice, 16);
    uint32_t most = ml_dice_one_in(dice, 100) ? 100 : ml_dice_one_in(dice, 3) ? 8 : 1;
    attempt->streams[n] = pick_stream(model, fresh);
    attempt->counts[n] = (uint16_t)(1 + ml_dice_below(dice, most));
    attempt->expected[n] = ML_ANY;
    if (fresh && ml_dice_one_in(dice, 2))
        attempt->expected[n] = ML_NO_STREAM;
    else if (!model->plain)
        attempt->expected[n] = pick_expected(model, attempt->streams[n]);
}

uint32_t ml_model_plan(ml_model *model, uint32_t session)
{
    ml_dice *dice = &model->siege->dice;
    if (model->count >= model->room) {
        model->room = model->room == 0 ? 4096 : 2 * model->room;
        model->attempts = ml_siege_grow(model->attempts, model->room * sizeof *model->attempts);
    }
    uint32_t number = model->count++;
    ml_attempt *attempt = &model->attempts[number];
    *attempt = (ml_attempt){.session = session, .writes = 1};
    if (ml_dice_one_in(dice, 6))
        attempt->writes = (uint8_t)(1 + ml_dice_below(dice, ML_MODEL_WRITES));
    for (size_t n = 0; n < attempt->writes; n++)
        plan_write(model, attempt, n);
    attempt->durability = model->os ? ML_OS : (uint8_t)ml_dice_below(dice, 3);
    if (!model->plain && ml_dice_one_in(dice, 10)) {
        attempt->condition = (uint8_t)(1 + ml_dice_below(dice, ML_MODEL_TAGS));
        uint32_t back = ml_dice_below(dice, 64);
        attempt->after = model->highest > back ? model->highest - back : 0;
    }
    return number;
}

uint32_t ml_model_events(const ml_attempt *attempt)
{
    uint32_t events = 0;
    for (size_t n = 0; n < attempt->writes; n++)
        events += attempt->counts[n];
    return events;
}

ml_place ml_model_place(const ml_model *model, uint32_t number, uint32_t index)
{
    const ml_attempt *attempt = &model->attempts[number];
    ml_place place = {number, (uint16_t)index, 0};
    while (place.write + 1 < attempt->writes && index >= attempt->counts[place.write])
        index -= attempt->counts[place.write++];
    return place;
}

ml_facts ml_model_facts(const ml_model *model, ml_place place)
{
    ml_dice dice = {model->siege->seed ^ (uint64_t)place.attempt << 20 ^ place.index};
    ml_facts facts = {.stream = model->attempts[place.attempt].streams[place.write]};
    facts.type = (uint8_t)ml_dice_below(&dice, ML_MODEL_TYPES);
    /* From one in four events to one in five hundred. */
    for (unsigned tag = 0; tag < ML_MODEL_TAGS; tag++)
        if (ml_dice_one_in(&dice, 4u << tag)) facts.tags |= (uint8_t)(1u << tag);
    facts.bytes = ml_dice_one_in(&dice, 200) ? model->large : ml_dice_below(&dice, SMALL);
    return facts;
}

/* ---- packing -------------------------------------------------------------------------- */

/* Number, index, and a mark of the run. */
static void make_id(const ml_model *model, ml_place place, uint8_t id[ML_ID_SIZE])
{
    ml_put_be64(id, place.attempt);
    ml_put_be64(id + 8, (uint64_t)place.index << 32 | (uint32_t)model->siege->seed);
}

static uint8_t data_byte(ml_place place, size_t at)
{
    return (uint8_t)(place.attempt * 31u + place.index * 7u + at);
}

static void pack_data(ml_buf *out, ml_place place, uint32_t bytes)
{
    static uint8_t data[1 << 20];
    for (size_t n = 0; n < bytes; n++)
        data[n] = data_byte(place, n);
    ml_pack_bin(out, (ml_bytes){data, bytes});
}

static void pack_tags(ml_buf *out, uint8_t tags)
{
    char name[ML_MODEL_NAME];
    ml_pack_array(out, (uint32_t)__builtin_popcount(tags));
    for (unsigned tag = 0; tag < ML_MODEL_TAGS; tag++) {
        if ((tags >> tag & 1) == 0) continue;
        ml_model_tag(tag, name);
        ml_pack_text(out, name);
    }
}

static void pack_event(const ml_model *model, ml_place place, ml_buf *out)
{
    ml_facts facts = ml_model_facts(model, place);
    uint8_t id[ML_ID_SIZE];
    char name[ML_MODEL_NAME];
    make_id(model, place, id);
    ml_model_type(facts.type, name);
    ml_pack_map(out, 4);
    ml_pack_text(out, "type");
    ml_pack_text(out, name);
    ml_pack_text(out, "id");
    ml_pack_bin(out, (ml_bytes){id, ML_ID_SIZE});
    ml_pack_text(out, "tags");
    pack_tags(out, facts.tags);
    ml_pack_text(out, "data");
    pack_data(out, place, facts.bytes);
}

static void pack_expected(ml_buf *out, int64_t expected)
{
    ml_pack_text(out, "expected");
    if (expected == ML_ANY)
        ml_pack_text(out, "any");
    else if (expected == ML_NO_STREAM)
        ml_pack_text(out, "no_stream");
    else if (expected == ML_STREAM_EXISTS)
        ml_pack_text(out, "stream_exists");
    else
        ml_pack_int(out, expected);
}

/* stream, expected, events: three entries of a map. */
static void pack_write(const ml_model *model, uint32_t number, size_t n, uint32_t *index,
                       ml_buf *out)
{
    const ml_attempt *attempt = &model->attempts[number];
    char name[ML_MODEL_NAME];
    ml_model_stream(attempt->streams[n], name);
    ml_pack_text(out, "stream");
    ml_pack_text(out, name);
    pack_expected(out, attempt->expected[n]);
    ml_pack_text(out, "events");
    ml_pack_array(out, attempt->counts[n]);
    for (uint32_t k = 0; k < attempt->counts[n]; k++)
        pack_event(model, ml_model_place(model, number, (*index)++), out);
}

static void pack_condition(const ml_attempt *attempt, ml_buf *out)
{
    char name[ML_MODEL_NAME];
    ml_model_tag(attempt->condition - 1u, name);
    ml_pack_text(out, "condition");
    ml_pack_map(out, 2);
    ml_pack_text(out, "query");
    ml_pack_array(out, 1);
    ml_pack_map(out, 1);
    ml_pack_text(out, "tags");
    ml_pack_array(out, 1);
    ml_pack_text(out, name);
    ml_pack_text(out, "after");
    ml_pack_int(out, (int64_t)attempt->after);
}

void ml_model_pack(ml_model *model, uint32_t number, ml_buf *out)
{
    static const char *const levels[] = {"disk", "os", "memory"};
    ml_attempt *attempt = &model->attempts[number];
    uint32_t index = 0;
    bool listed = attempt->writes > 1 || (number & 1) != 0;
    ml_pack_map(out, (listed ? 2u : 4u) + (attempt->condition > 0 ? 1u : 0u));
    if (listed) {
        ml_pack_text(out, "writes");
        ml_pack_array(out, attempt->writes);
    }
    for (size_t n = 0; n < attempt->writes; n++) {
        if (listed) ml_pack_map(out, 3);
        pack_write(model, number, n, &index, out);
    }
    if (attempt->condition > 0) pack_condition(attempt, out);
    ml_pack_text(out, "durability");
    ml_pack_text(out, levels[attempt->durability]);
    if (attempt->fate == ML_PLANNED) attempt->fate = ML_SENT;
    attempt->queued = false;
}

/* ---- answers -------------------------------------------------------------------------- */

static bool wrong(ml_model *model, uint32_t number, const char *what)
{
    return ml_siege_wrong(model->siege, "append %" PRIu32 " %s", number, what);
}

bool ml_model_put(ml_model *model, uint64_t position, ml_place place)
{
    while (position >= model->log_room) {
        size_t before = model->log_room;
        model->log_room = before == 0 ? 65536 : 2 * before;
        model->log = ml_siege_grow(model->log, model->log_room * sizeof *model->log);
        memset(model->log + before, 0, (model->log_room - before) * sizeof *model->log);
    }
    ml_place *at = &model->log[position];
    if (at->attempt != 0 && (at->attempt != place.attempt || at->index != place.index))
        return ml_siege_wrong(model->siege,
                              "position %" PRIu64 " is said to hold append %" PRIu32
                              " and append %" PRIu32,
                              position, at->attempt, place.attempt);
    *at = place;
    if (position > model->highest) model->highest = position;
    while (model->known + 1 < model->log_room && model->log[model->known + 1].attempt != 0)
        model->known++;
    return true;
}

/* disk is durable, os outlives the process; memory may be either, or promise nothing. */
static bool durable_enough(uint8_t asked, ml_bytes said)
{
    bool disk = ml_bytes_equal(said, ML_STR("disk")), os = ml_bytes_equal(said, ML_STR("os"));
    return disk || (os && asked >= ML_OS) ||
           (asked == ML_MEMORY && ml_bytes_equal(said, ML_STR("memory")));
}

static bool refused(ml_model *model, uint32_t number, const ml_message *message)
{
    ml_attempt *attempt = &model->attempts[number];
    bool may = (message->code == ML_NO_SPACE && model->full) || message->code == ML_SHUTTING_DOWN ||
               (message->code == ML_CONDITION_FAILED && attempt->condition > 0) ||
               (message->code == ML_WRONG_EXPECTED_REVISION && !model->plain);
    if (!may)
        return ml_siege_wrong(model->siege, "append %" PRIu32 " is refused: %.*s", number,
                              ML_SHOW(message->text));
    if (attempt->fate == ML_KEPT)
        return wrong(model, number, "is in the log, and refused when it is sent again");
    attempt->fate = ML_REFUSED;
    model->refused++;
    return true;
}

/* revisions: {stream: last revision}, as a guess for the next append. */
static void learn_heads(ml_model *model, const ml_attempt *attempt, ml_bytes result)
{
    char name[ML_MODEL_NAME];
    ml_bytes revisions = ml_unpack_find(result, "revisions");
    for (size_t n = 0; n < attempt->writes; n++) {
        ml_model_stream(attempt->streams[n], name);
        int64_t revision = (int64_t)ml_client_natural(revisions, name);
        if (revision > model->heads[attempt->streams[n]])
            model->heads[attempt->streams[n]] = revision;
    }
}

bool ml_model_answer(ml_model *model, uint32_t number, const ml_message *message)
{
    ml_attempt *attempt = &model->attempts[number];
    if (message->code != ML_OK) return refused(model, number, message);
    uint64_t first = ml_client_natural(message->body, "first"),
             last = ml_client_natural(message->body, "last");
    ml_bytes level = ml_unpack_find(message->body, "durability"), said = {0};
    ml_unpack cursor = ml_unpack_from(level);
    bool duplicate = ml_unpack_find(message->body, "duplicate").size > 0;
    if (first == 0 || last - first + 1 != ml_model_events(attempt))
        return wrong(model, number, "got other positions than it has events");
    if (!ml_unpack_str(&cursor, &said) || !durable_enough(attempt->durability, said))
        return wrong(model, number, "is answered with less durability than it asked for");
    if (duplicate && !attempt->retried)
        return wrong(model, number, "is sent once and said to be a duplicate");
    if (attempt->fate == ML_KEPT && !duplicate)
        return wrong(model, number, "was in the log, and is written a second time");
    if (attempt->fate == ML_KEPT && attempt->first != first)
        return wrong(model, number, "has moved");
    if (attempt->found && !duplicate)
        return wrong(model, number, "was seen, and is written a second time");
    for (uint64_t position = first; position <= last; position++)
        if (!ml_model_put(model, position,
                          ml_model_place(model, number, (uint32_t)(position - first))))
            return false;
    attempt->fate = ML_KEPT;
    attempt->first = first;
    if (!duplicate) learn_heads(model, attempt, message->body);
    model->acknowledged++;
    model->duplicates += duplicate;
    return true;
}

/* ---- recognising ---------------------------------------------------------------------- */

bool ml_model_named(const ml_model *model, const uint8_t *id, ml_place *place)
{
    uint64_t number = ml_get_be64(id), rest = ml_get_be64(id + 8);
    if (number == 0 || number >= model->count || (uint32_t)rest != (uint32_t)model->siege->seed)
        return false;
    if (rest >> 32 >= ml_model_events(&model->attempts[number])) return false;
    *place = ml_model_place(model, (uint32_t)number, (uint32_t)(rest >> 32));
    return true;
}

static bool same_data(ml_place place, ml_bytes raw, uint32_t bytes)
{
    ml_unpack cursor = ml_unpack_from(raw);
    ml_token token = ml_unpack_next(&cursor);
    if (token.kind != ML_KIND_BIN || token.bytes.size != bytes) return false;
    const uint8_t *data = token.bytes.data;
    for (size_t n = 0; n < bytes; n++)
        if (data[n] != data_byte(place, n)) return false;
    return true;
}

static bool same_tags(ml_bytes raw, uint8_t tags)
{
    ml_buf packed = {0};
    pack_tags(&packed, tags);
    bool same = ml_bytes_equal(raw, ml_buf_view(&packed));
    ml_buf_free(&packed);
    return same;
}

bool ml_model_compare(ml_model *model, ml_place place, const ml_event *event)
{
    ml_facts facts = ml_model_facts(model, place);
    uint8_t id[ML_ID_SIZE];
    char stream[ML_MODEL_NAME], type[ML_MODEL_NAME];
    make_id(model, place, id);
    ml_model_stream(facts.stream, stream);
    ml_model_type(facts.type, type);
    const char *differs = NULL;
    if (memcmp(event->id, id, ML_ID_SIZE) != 0)
        differs = "id";
    else if (!ml_bytes_equal(event->stream, (ml_bytes){stream, strlen(stream)}))
        differs = "stream";
    else if (!ml_bytes_equal(event->type, (ml_bytes){type, strlen(type)}))
        differs = "type";
    else if (!same_tags(event->tags, facts.tags))
        differs = "tags";
    else if (!same_data(place, event->data, facts.bytes))
        differs = "data";
    if (differs == NULL) return true;
    return ml_siege_wrong(model->siege,
                          "position %" PRIu64 ": the %s is not that of event %u of append %" PRIu32,
                          event->position, differs, place.index, place.attempt);
}
