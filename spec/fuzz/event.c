/* event.c -- an event from arbitrary bytes, and what was read written again.
 *
 *   input:  bytes of a record
 */
#include "../../core/store/event.h"

#include <stdlib.h>

#include "../../core/base/limits.h"
#include "../../core/base/unpack.h"
#include "fuzz.h"

void ml_fuzz_begin(void) {}

void ml_fuzz_seeds(void)
{
    ml_bytes segment = ml_fuzz_golden("store/log/00000000000000000001.seg");
    const uint8_t *bytes = segment.data;
    for (size_t at = 4096; at + 8 < segment.size; at += 8) {
        uint32_t size = ml_get_u32(bytes + at);
        if (size >= 10 && size <= segment.size - at - 8 && bytes[at + 8] == 0x9b)
            ml_fuzz_seed(bytes + at + 8, size);
    }
}

static bool inside(ml_bytes record, ml_bytes part)
{
    const uint8_t *from = record.data, *at = part.data;
    return part.size == 0 || (at >= from && at + part.size <= from + record.size);
}

/* A draft of what was read; false if its tags are no array of strings, or too many. */
static bool draft_of(const ml_event *event, ml_bytes tags[ML_TAGS_MAX], ml_draft *draft)
{
    ml_unpack cursor = ml_unpack_from(event->tags);
    uint32_t count;
    if (!ml_unpack_array(&cursor, &count) || count > ML_TAGS_MAX) return false;
    for (uint32_t n = 0; n < count; n++)
        if (!ml_unpack_str(&cursor, &tags[n])) return false;
    *draft = (ml_draft){.type = event->type,
                        .data = event->data,
                        .meta = event->meta,
                        .tags = tags,
                        .tag_count = count,
                        .id = event->id,
                        .schema = event->schema,
                        .has_occurred = event->has_occurred,
                        .occurred = event->occurred};
    return true;
}

static void write_again(const ml_event *event, const ml_draft *draft)
{
    ml_stamp stamp = {event->position, event->revision, event->time, event->id};
    size_t bound = ml_event_bound(event->stream, draft);
    uint8_t *bytes = malloc(bound);
    ML_ASSERT(bytes != NULL);
    size_t size = ml_event_encode(bytes, event->stream, draft, &stamp);
    ML_ASSERT(size <= bound);
    ml_event again;
    ML_ASSERT(ml_event_decode((ml_bytes){bytes, size}, &again));
    ML_ASSERT(again.position == event->position && again.revision == event->revision);
    ML_ASSERT(again.time == event->time && again.schema == event->schema);
    ML_ASSERT(ml_bytes_equal(again.stream, event->stream));
    ML_ASSERT(ml_bytes_equal(again.type, event->type));
    ML_ASSERT(ml_bytes_equal(again.data, event->data) && ml_bytes_equal(again.meta, event->meta));
    ML_ASSERT(memcmp(again.id, event->id, ML_ID_SIZE) == 0);
    ML_ASSERT(again.has_occurred == event->has_occurred && again.occurred == event->occurred);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_bytes record = {data, size}, stream;
    ml_event event;
    uint64_t revision;
    bool peeked = ml_event_peek(record, &revision, &stream);
    if (!ml_event_decode(record, &event)) return 0;
    ML_ASSERT(peeked && revision == event.revision && ml_bytes_equal(stream, event.stream));
    ML_ASSERT(inside(record, event.stream) && inside(record, event.type));
    ML_ASSERT(inside(record, event.tags) && event.tags.size > 0);
    ML_ASSERT(inside(record, event.data) && inside(record, event.meta));
    ML_ASSERT(inside(record, (ml_bytes){event.id, ML_ID_SIZE}));
    ML_ASSERT(inside(event.stream, ml_event_category(event.stream)));
    ml_bytes tags[ML_TAGS_MAX];
    ml_draft draft;
    bool good = draft_of(&event, tags, &draft) && ml_event_check(&draft, 1, NULL) == ML_OK &&
                ml_event_check_name(event.stream, ML_STREAM_BYTES_MAX, "stream", NULL) == ML_OK;
    if (good) write_again(&event, &draft);
    return 0;
}
