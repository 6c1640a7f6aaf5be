/* client_write.c -- a proposal as the parameters of `append`. */
#include "client.h"

static uint32_t pack_names(const ml_draft *draft, ml_buf *out)
{
    ml_pack_text(out, "tags");
    ml_pack_array(out, (uint32_t)draft->tag_count);
    for (size_t n = 0; n < draft->tag_count; n++) ml_pack_str(out, draft->tags[n]);
    return 1;
}

static uint32_t pack_raw(const char *name, ml_bytes value, ml_buf *out)
{
    ml_pack_text(out, name);
    ml_buf_add(out, value.data, value.size);
    return 1;
}

static uint32_t pack_integer(const char *name, int64_t value, ml_buf *out)
{
    ml_pack_text(out, name);
    ml_pack_int(out, value);
    return 1;
}

static void pack_draft(const ml_draft *draft, ml_buf *out)
{
    size_t begin = ml_pack_begin(out);
    ml_pack_text(out, "type");
    ml_pack_str(out, draft->type);
    uint32_t pairs = 1;
    if (draft->data.size > 0) pairs += pack_raw("data", draft->data, out);
    if (draft->meta.size > 0) pairs += pack_raw("meta", draft->meta, out);
    if (draft->tag_count > 0) pairs += pack_names(draft, out);
    if (draft->schema > 1) pairs += pack_integer("schema", draft->schema, out);
    if (draft->has_occurred) pairs += pack_integer("occurred", draft->occurred, out);
    if (draft->id != NULL) {
        ml_pack_text(out, "id");
        ml_pack_bin(out, (ml_bytes){draft->id, ML_ID_SIZE});
        pairs++;
    }
    ml_pack_end_map(out, begin, pairs); /* under 16: nothing is moved */
}

static void pack_write(const ml_write *write, ml_buf *out)
{
    ml_pack_map(out, 3);
    ml_pack_text(out, "stream");
    ml_pack_str(out, write->stream);
    ml_pack_text(out, "expected");
    if (write->expected >= 0) ml_pack_int(out, write->expected);
    else ml_pack_text(out, write->expected == ML_NO_STREAM       ? "no_stream"
                           : write->expected == ML_STREAM_EXISTS ? "stream_exists"
                                                                 : "any");
    ml_pack_text(out, "events");
    ml_pack_array(out, (uint32_t)write->count);
    for (size_t n = 0; n < write->count; n++) pack_draft(&write->events[n], out);
}

void ml_client_pack_append(ml_buf *out, const ml_proposal *proposal)
{
    static const char *const levels[] = {"disk", "os", "memory"};
    ml_pack_map(out, 2);
    ml_pack_text(out, "durability");
    ml_pack_text(out, levels[proposal->durability]);
    ml_pack_text(out, "writes");
    ml_pack_array(out, (uint32_t)proposal->count);
    for (size_t n = 0; n < proposal->count; n++) pack_write(&proposal->writes[n], out);
}
