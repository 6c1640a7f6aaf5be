/* model.c -- the history, and holding a store against it. */
#include "model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/base/error.h"

static const char *const streams[ML_MODEL_STREAMS] = {
    "account-ada", "account-bob", "account-cyd", "cart-1", "cart-2", "lone", "$sys-1", "order-7-a"};
static const char *const categories[] = {"account", "cart", "lone", "$sys", "order"};
static const char *const types[ML_MODEL_TYPES] = {"Opened", "Deposited", "Withdrawn", "Closed"};
static const char *const tags[ML_MODEL_TAGS] = {"owner:1", "owner:2", "city:x",
                                                "city:y",  "rush",    "audit"};

static ml_bytes text(const char *words)
{
    return (ml_bytes){words, strlen(words)};
}

ml_bytes ml_model_stream(unsigned n)
{
    return text(streams[n]);
}
ml_bytes ml_model_type(unsigned n)
{
    return text(types[n]);
}
ml_bytes ml_model_tag(unsigned n)
{
    return text(tags[n]);
}

typedef struct ml_model_block {
    struct ml_model_block *next;
    size_t used;
    uint8_t bytes[1 << 16];
} ml_model_block;

void ml_model_free(ml_model *model)
{
    for (ml_model_block *block = model->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    free(model->events);
    *model = (ml_model){0};
}

static bool wrong(ml_model *model, const char *format, ...) ML_FORMAT(2, 3);
static bool wrong(ml_model *model, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(model->why, sizeof model->why, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- making events ------------------------------------------------------------------ */

/* Bytes that stay where they are for as long as the model. */
static uint8_t *take(ml_model *model, size_t size)
{
    ml_model_block *block = model->blocks;
    if (block == NULL || sizeof block->bytes - block->used < size) {
        block = malloc(sizeof *block);
        ML_ASSERT(block != NULL);
        block->next = model->blocks;
        block->used = 0;
        model->blocks = block;
    }
    block->used += size;
    return block->bytes + block->used - size;
}

/* A MessagePack str of small letters. */
static const uint8_t *make_data(ml_model *model, size_t size)
{
    ml_dice dice = {model->serial * 31};
    uint8_t *data = take(model, size);
    size_t at = 0;
    data[at++] = 0xda;
    data[at++] = (uint8_t)((size - 3) >> 8);
    data[at++] = (uint8_t)(size - 3);
    while (at < size) {
        uint64_t number = ml_dice_roll(&dice);
        for (size_t n = 0; n < 8 && at < size; n++, number >>= 8)
            data[at++] = (uint8_t)('a' + (number & 15));
    }
    return data;
}

static const uint8_t *make_id(ml_model *model)
{
    ml_dice dice = {model->serial};
    uint64_t number[2] = {ml_dice_roll(&dice), ml_dice_roll(&dice)};
    return memcpy(take(model, sizeof number), number, sizeof number);
}

ml_model_event *ml_model_add(ml_model *model, unsigned stream, unsigned type, unsigned tag_bits,
                             size_t size)
{
    ML_ASSERT(size >= 3);
    ML_ASSERT(size <= ML_MODEL_DATA_MAX);
    if (model->count == model->capacity) {
        model->capacity = model->capacity * 2 + 64;
        model->events = realloc(model->events, model->capacity * sizeof *model->events);
        ML_ASSERT(model->events != NULL);
    }
    model->serial++;
    ml_model_event *event = &model->events[model->count];
    *event = (ml_model_event){.id = make_id(model),
                              .data = make_data(model, size),
                              .stream = (uint8_t)stream,
                              .type = (uint8_t)type,
                              .tags = (uint8_t)tag_bits,
                              .size = (uint16_t)size,
                              .revision =
                                  (uint64_t)(ml_model_revision(model, stream, model->count) + 1)};
    model->count++;
    return event;
}

void ml_model_cut(ml_model *model, size_t count)
{
    ML_ASSERT(count <= model->count);
    model->count = count;
    if (model->visible > count) model->visible = count;
    if (model->durable > count) model->durable = count;
}

void ml_model_draft(const ml_model_event *event, ml_model_room *room, ml_draft *draft)
{
    *draft = (ml_draft){.type = ml_model_type(event->type),
                        .data = {event->data, event->size},
                        .tags = room->tags,
                        .id = event->id,
                        .schema = 1 + event->type};
    for (unsigned n = 0; n < ML_MODEL_TAGS; n++)
        if (event->tags >> n & 1) room->tags[draft->tag_count++] = ml_model_tag(n);
}

/* ---- asking the history ------------------------------------------------------------- */

int64_t ml_model_revision(const ml_model *model, unsigned stream, size_t count)
{
    while (count > 0)
        if (model->events[--count].stream == stream) return (int64_t)model->events[count].revision;
    return -1;
}

bool ml_model_has(const ml_model *model, unsigned type, unsigned tag, size_t after)
{
    for (size_t n = after; n < model->count; n++)
        if (model->events[n].type == type && (model->events[n].tags >> tag & 1)) return true;
    return false;
}

/* ---- one event ---------------------------------------------------------------------- */

static bool same(ml_bytes a, ml_bytes b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static bool same_tags(const ml_model_event *wanted, ml_bytes stored)
{
    const uint8_t *at = stored.data, *end = at + stored.size;
    unsigned count = 0;
    for (unsigned n = 0; n < ML_MODEL_TAGS; n++)
        count += wanted->tags >> n & 1;
    if (at == end || *at++ != (0x90 | count)) return false;
    for (unsigned n = 0; n < ML_MODEL_TAGS; n++) {
        if ((wanted->tags >> n & 1) == 0) continue;
        ml_bytes tag = ml_model_tag(n);
        if ((size_t)(end - at) < tag.size + 1 || *at != (0xa0 | tag.size)) return false;
        if (memcmp(at + 1, tag.data, tag.size) != 0) return false;
        at += 1 + tag.size;
    }
    return at == end;
}

static bool check_event(ml_model *model, const ml_event *event)
{
    size_t n = (size_t)event->position - 1;
    if (event->position < 1 || n >= model->count)
        return wrong(model, "position %" PRIu64 " was never written", event->position);
    const ml_model_event *wanted = &model->events[n];
    bool good = same(event->stream, ml_model_stream(wanted->stream)) &&
                same(event->type, ml_model_type(wanted->type)) &&
                event->revision == wanted->revision && event->schema == 1u + wanted->type &&
                memcmp(event->id, wanted->id, ML_ID_SIZE) == 0 && !event->has_occurred &&
                same(event->data, (ml_bytes){wanted->data, wanted->size}) &&
                same_tags(wanted, event->tags);
    return good || wrong(model,
                         "the event at position %" PRIu64 " is not the one written there: "
                         "%.*s/%" PRIu64 " instead of %s/%" PRIu64,
                         event->position, (int)event->stream.size, (const char *)event->stream.data,
                         event->revision, streams[wanted->stream], wanted->revision);
}

/* ---- the verdict -------------------------------------------------------------------- */

bool ml_model_check(ml_model *model, ml_store *store, size_t least, size_t *found)
{
    ml_cursor *cursor = NULL;
    ml_event event;
    int64_t time = 0;
    *found = 0;
    if (ml_read(store, &(ml_selection){.system = true}, &cursor) != ML_OK)
        return wrong(model, "reading was refused: %s", ml_why(store));
    ml_code code;
    bool good = true;
    while (good && (code = ml_next(cursor, &event)) == ML_OK) {
        if (event.position != *found + 1)
            good = wrong(model, "position %" PRIu64 " follows %zu", event.position, *found);
        else if (event.time < time)
            good = wrong(model, "time goes back at position %" PRIu64, event.position);
        else
            good = check_event(model, &event);
        time = event.time;
        ++*found;
    }
    ml_cursor_free(cursor);
    if (!good) return false;
    if (code != ML_END) return wrong(model, "reading stopped: %s", ml_why(store));
    if (*found < least)
        return wrong(model, "LOST: %zu events of %zu acknowledged are there", *found, least);
    if (*found > 0 && !model->events[*found - 1].last)
        return wrong(model, "TORN: of the append at position %zu only a part is there", *found);
    return true;
}

bool ml_model_check_damaged(ml_model *model, ml_store *store, size_t *given, size_t *lost)
{
    ml_cursor *cursor = NULL;
    ml_event event;
    uint64_t before = 0;
    *given = *lost = 0;
    if (ml_read(store, &(ml_selection){.system = true}, &cursor) != ML_OK)
        return wrong(model, "reading was refused: %s", ml_why(store));
    ml_code code = ML_OK;
    bool good = true;
    while (good && (code = ml_next(cursor, &event)) != ML_END) {
        if (code == ML_CORRUPT) {
            if (++*lost > model->count) good = wrong(model, "reading refuses without end");
            continue;
        }
        if (code != ML_OK)
            good = wrong(model, "reading stopped: %s", ml_why(store));
        else if (event.position <= before)
            good = wrong(model, "position %" PRIu64 " comes again", event.position);
        else
            good = check_event(model, &event);
        before = event.position;
        ++*given;
    }
    ml_cursor_free(cursor);
    return good;
}

/* ---- reads by index ----------------------------------------------------------------- */

typedef enum { BY_STREAM, BY_CATEGORY, BY_TYPE, BY_TAG, BY_TYPE_AND_TAG } by;

static bool is_in(ml_bytes category, unsigned stream)
{
    const char *name = streams[stream], *dash = strchr(name, '-');
    size_t size = dash != NULL ? (size_t)(dash - name) : strlen(name);
    return same(category, (ml_bytes){name, size});
}

static bool is_one(const ml_model_event *event, by how, unsigned n)
{
    switch (how) {
    case BY_STREAM: return event->stream == n;
    case BY_CATEGORY: return is_in(text(categories[n]), event->stream);
    case BY_TYPE: return event->type == n;
    case BY_TAG: return event->tags >> n & 1;
    case BY_TYPE_AND_TAG: return event->type == n % ML_MODEL_TYPES && (event->tags >> n & 1);
    }
    return false;
}

static const char *const names_of[] = {"stream", "category", "type", "tag", "type and tag"};

static bool compare(ml_model *model, ml_store *store, ml_cursor *cursor, by how, unsigned n,
                    bool backward, size_t count)
{
    ml_event event;
    ml_code code;
    size_t at = backward ? count : 0;
    for (;;) {
        if (backward) {
            while (at > 0 && !is_one(&model->events[at - 1], how, n))
                at--;
        } else {
            while (at < count && !is_one(&model->events[at], how, n))
                at++;
        }
        bool more = backward ? at > 0 : at < count;
        uint64_t wanted = !more ? 0 : backward ? at : at + 1;
        code = ml_next(cursor, &event);
        if (code == ML_END && !more) return true;
        if (code == ML_END)
            return wrong(model, "INDEX: by %s %u position %" PRIu64 " is not found", names_of[how],
                         n, wanted);
        if (code) return wrong(model, "INDEX: by %s %u: %s", names_of[how], n, ml_why(store));
        if (event.position != wanted)
            return wrong(model,
                         "INDEX: by %s %u position %" PRIu64 " comes where %" PRIu64 " belongs",
                         names_of[how], n, event.position, wanted);
        if (!check_event(model, &event)) return false;
        at = backward ? at - 1 : at + 1;
    }
}

static bool check_selection(ml_model *model, ml_store *store, by how, unsigned n, bool backward,
                            size_t count)
{
    ml_bytes type = ml_model_type(n % ML_MODEL_TYPES), tag = ml_model_tag(n % ML_MODEL_TAGS);
    ml_query_item item = {.types = how == BY_TAG ? NULL : &type,
                          .type_count = how == BY_TAG ? 0 : 1,
                          .tags = how == BY_TYPE ? NULL : &tag,
                          .tag_count = how == BY_TYPE ? 0 : 1};
    ml_selection selection = {.system = true, .backward = backward};
    if (how == BY_STREAM)
        selection.stream = ml_model_stream(n);
    else if (how == BY_CATEGORY)
        selection.category = text(categories[n]);
    else
        selection.query = (ml_query){&item, 1};
    ml_cursor *cursor = NULL;
    ml_code code = ml_read(store, &selection, &cursor);
    bool absent = how == BY_STREAM && ml_model_revision(model, n, count) < 0;
    if (absent && code == ML_NOT_FOUND) return true;
    if (code || absent) {
        ml_cursor_free(cursor);
        return wrong(model, "INDEX: by %s %u: %s", names_of[how], n,
                     code ? ml_why(store) : "found what is not there");
    }
    bool good = compare(model, store, cursor, how, n, backward, count);
    ml_cursor_free(cursor);
    return good;
}

static bool check_head(ml_model *model, ml_store *store, unsigned stream, size_t count)
{
    ml_head head;
    int64_t revision = ml_model_revision(model, stream, count);
    ml_code code = ml_get_head(store, ml_model_stream(stream), &head);
    if (revision < 0 && code == ML_NOT_FOUND && head.position == count) return true;
    if (code || head.position != count || (int64_t)head.revision != revision)
        return wrong(model,
                     "INDEX: the head of %s is %" PRIu64 " at %" PRIu64 " (%s), not %" PRId64
                     " at %zu",
                     streams[stream], head.revision, head.position, code ? ml_why(store) : "found",
                     revision, count);
    size_t first = 0;
    while (model->events[first].stream != stream)
        first++;
    if (head.first == first + 1) return true;
    return wrong(model, "INDEX: %s begins at %" PRIu64 ", not %zu", streams[stream], head.first,
                 first + 1);
}

typedef struct listing {
    const ml_model *model;
    size_t count;    /* events in the store */
    unsigned listed; /* a bit for each stream */
    bool good;
} listing;

static bool list_stream(void *context, const ml_stream_info *info)
{
    listing *list = context;
    for (unsigned n = 0; n < ML_MODEL_STREAMS; n++) {
        if (!same(info->stream, ml_model_stream(n))) continue;
        list->good = list->good && (list->listed >> n & 1) == 0 &&
                     ml_model_revision(list->model, n, list->count) == (int64_t)info->revision;
        list->listed |= 1u << n;
        return true;
    }
    list->good = false;
    return true;
}

static bool check_streams(ml_model *model, ml_store *store, size_t count)
{
    listing list = {.model = model, .count = count, .good = true};
    ml_code code = ml_streams(store, (ml_bytes){0}, (ml_bytes){0}, 0, list_stream, &list);
    unsigned wanted = 0;
    for (unsigned n = 0; n < ML_MODEL_STREAMS; n++)
        if (streams[n][0] != '$' && ml_model_revision(model, n, count) >= 0) wanted |= 1u << n;
    if (code) return wrong(model, "INDEX: listing streams: %s", ml_why(store));
    return (list.good && list.listed == wanted) ||
           wrong(model, "INDEX: the list of streams is wrong");
}

bool ml_model_check_index(ml_model *model, ml_store *store, size_t count)
{
    static const unsigned how_many[] = {ML_MODEL_STREAMS, sizeof categories / sizeof *categories,
                                        ML_MODEL_TYPES, ML_MODEL_TAGS, ML_MODEL_TAGS};
    for (unsigned how = BY_STREAM; how <= BY_TYPE_AND_TAG; how++)
        for (unsigned n = 0; n < how_many[how]; n++)
            if (!check_selection(model, store, (by)how, n, (how + n) % 2 == 1, count)) return false;
    for (unsigned n = 0; n < ML_MODEL_STREAMS; n++)
        if (!check_head(model, store, n, count)) return false;
    return check_streams(model, store, count);
}
