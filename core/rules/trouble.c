/* trouble.c -- a fault becomes an error and a map. */
#include <stdio.h>

#include "../base/pack.h"
#include "inside.h"

static void note_text(char to[ML_UNIT_NAME_MAX + 1], ml_bytes text)
{
    size_t size = text.size < ML_UNIT_NAME_MAX ? text.size : ML_UNIT_NAME_MAX;
    const char *at = text.data;
    while (size > 0 && size < text.size && ((unsigned char)at[size] & 0xc0) == 0x80) size--;
    memcpy(to, text.data, size);
    to[size] = '\0';
}

ml_code ml_trouble_note(ml_engine *engine, const ml_unit *unit, const ml_event *event,
                        ml_error *why)
{
    ml_trouble *trouble = &engine->trouble;
    trouble->unit = unit;
    trouble->position = 0;
    trouble->type[0] = '\0';
    if (trouble->fault.file[0] == '\0')
        snprintf(trouble->fault.file, sizeof trouble->fault.file, "%.*s", ML_SHOW(unit->file.path));
    if (event != NULL) {
        trouble->position = event->position;
        note_text(trouble->type, event->type);
        note_text(trouble->stream, event->stream);
    }
    ml_unit_quote(&unit->file, 1, &trouble->fault);
    return ml_fault_tell(&trouble->fault, why);
}

static void pack_field(ml_buf *out, const char *name, const char *value)
{
    ml_pack_text(out, name);
    ml_pack_text(out, value);
}

void ml_trouble_pack(const ml_engine *engine, ml_buf *out)
{
    static const char *const kinds[] = {
        [ML_FAULT_NONE] = "none",     [ML_FAULT_COMPILE] = "compile",
        [ML_FAULT_RAISED] = "raised", [ML_FAULT_OVERSTAY] = "overstay",
        [ML_FAULT_MEMORY] = "memory", [ML_FAULT_SHAPE] = "shape"};
    const ml_trouble *trouble = &engine->trouble;
    const ml_fault *fault = &trouble->fault;
    ml_pack_map(out, 1);
    ml_pack_text(out, "fault");
    bool event = trouble->type[0] != '\0';
    ml_pack_map(out, event ? 9 : 8);
    pack_field(out, "kind", kinds[fault->kind]);
    pack_field(out, "message", fault->message);
    pack_field(out, "file", fault->file);
    ml_pack_text(out, "line");
    ml_pack_int(out, fault->line);
    pack_field(out, "source", fault->source);
    pack_field(out, "traceback", fault->traceback);
    pack_field(out, "unit", trouble->unit->label);
    pack_field(out, "hash", trouble->unit->hash);
    if (!event) return;
    ml_pack_text(out, "event");
    ml_pack_map(out, 3);
    ml_pack_text(out, "position");
    if (trouble->position > 0) ml_pack_int(out, (int64_t)trouble->position);
    else ml_pack_nil(out);
    pack_field(out, "type", trouble->type);
    pack_field(out, "stream", trouble->stream);
}
