/* show_event.c -- an event as a record: read, export and tail print the same object. */
#include "show.h"

enum { FIELDS = 11 };

static bool is_empty_array(ml_bytes value)
{
    return value.size == 1 && *(const uint8_t *)value.data == 0x90;
}

static bool is_nil(ml_bytes value)
{
    return value.size == 0 || *(const uint8_t *)value.data == 0xc0;
}

static size_t whole_event(const ml_event *event, ml_field fields[FIELDS])
{
    size_t count = 0;
    fields[count++] = ML_NATURAL("position", event->position);
    fields[count++] = ML_NATURAL("revision", event->revision);
    fields[count++] = ML_TIME("time", event->time);
    fields[count++] = ML_TEXT("stream", event->stream);
    fields[count++] = ML_TEXT("type", event->type);
    fields[count++] = ML_NATURAL("schema", event->schema);
    fields[count++] = ML_ID("id", event->id);
    if (!is_empty_array(event->tags)) fields[count++] = ML_VALUE("tags", event->tags);
    fields[count++] = ML_VALUE("data", event->data);
    if (!is_nil(event->meta)) fields[count++] = ML_VALUE("meta", event->meta);
    if (event->has_occurred) fields[count++] = ML_TIME("occurred", event->occurred);
    return count;
}

/* What fits the width of a screen. */
static size_t short_event(const ml_show *show, const ml_event *event, ml_field fields[FIELDS])
{
    size_t count = 0;
    fields[count++] = ML_NATURAL("position", event->position);
    fields[count++] = ML_NATURAL("revision", event->revision);
    fields[count++] = ML_TIME("time", event->time);
    if (!show->one_stream) fields[count++] = ML_TEXT("stream", event->stream);
    fields[count++] = ML_TEXT("type", event->type);
    if (show->tags) fields[count++] = ML_VALUE("tags", event->tags);
    fields[count++] = ML_VALUE("data", event->data);
    return count;
}

bool ml_show_event(ml_show *show, const ml_event *event)
{
    ml_field fields[FIELDS];
    size_t count = show->shape == ML_SHAPE_TABLE ? short_event(show, event, fields)
                                                 : whole_event(event, fields);
    return ml_show_record(show, fields, count);
}
