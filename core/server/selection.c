/* selection.c -- which events, as a client says it; and events as it wants them. */
#include <inttypes.h>

#include "inside.h"

static ml_code read_terms(ml_server *server, const ml_params *item, const char *name, size_t *used,
                          const ml_bytes **list, size_t *count, ml_error *why)
{
    ml_bytes rest;
    uint32_t size;
    ml_code code = ml_params_list(item, name, &rest, &size, why);
    if (code) return code;
    if (size > ML_QUERY_TERMS_MAX - *used)
        return ml_error_set(why, ML_TOO_LARGE, "the query names more than %d types and tags", ML_QUERY_TERMS_MAX);
    *list = server->terms + *used;
    *count = size;
    for (uint32_t n = 0; !code && n < size; n++) code = ml_params_item_str(&rest, name, &server->terms[(*used)++], why);
    return code;
}

ml_code ml_selection_query(ml_server *server, ml_bytes raw, ml_query *query, ml_error *why)
{
    static const char *const names[] = {"types", "tags", NULL};
    ml_query_item *items = server->items;
    ml_unpack cursor = ml_unpack_from(raw);
    uint32_t count;
    size_t used = 0;
    if (!ml_unpack_array(&cursor, &count))
        return ml_error_set(why, ML_BAD_REQUEST, "query is no array of items {types, tags}");
    if (count > ML_QUERY_ITEMS_MAX)
        return ml_error_set(why, ML_TOO_LARGE, "the query has %" PRIu32 " items, the limit is %d", count, ML_QUERY_ITEMS_MAX);
    ml_bytes rest = {cursor.at, (size_t)(cursor.end - cursor.at)};
    for (uint32_t n = 0; n < count; n++) {
        ml_params item;
        ml_code code = ml_params_read(&rest, "a query's item", names, &item, why);
        if (!code) code = read_terms(server, &item, "types", &used, &items[n].types, &items[n].type_count, why);
        if (!code) code = read_terms(server, &item, "tags", &used, &items[n].tags, &items[n].tag_count, why);
        if (code) return code;
    }
    *query = (ml_query){items, count};
    return ML_OK;
}

ml_code ml_selection_read(ml_server *server, const ml_params *params, ml_selection *selection, ml_error *why)
{
    *selection = (ml_selection){0};
    ml_code code = ml_params_str(params, "stream", &selection->stream, why);
    if (!code) code = ml_params_str(params, "category", &selection->category, why);
    if (!code) code = ml_params_bool(params, "system", &selection->system, why);
    /* An empty name would select everything, which nobody means who names something. */
    bool nameless = (ml_params_raw(params, "stream").size > 0 && selection->stream.size == 0) ||
                    (ml_params_raw(params, "category").size > 0 && selection->category.size == 0);
    if (!code && nameless)
        code = ml_error_set(why, ML_BAD_REQUEST, "the stream or category is named \"\"; leave it out for all events");
    ml_bytes query = ml_params_raw(params, "query");
    if (!code && query.size > 0) code = ml_selection_query(server, query, &selection->query, why);
    return code;
}

void ml_selection_pack_event(bool as_map, ml_buf *out, const ml_event *event)
{
    if (!as_map) {
        ml_buf_add(out, event->wire.data, event->wire.size);
        return;
    }
    ml_pack_map(out, 11);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)event->position);
    ml_pack_text(out, "revision");
    ml_pack_int(out, (int64_t)event->revision);
    ml_pack_text(out, "time");
    ml_pack_int(out, event->time);
    ml_pack_text(out, "stream");
    ml_pack_str(out, event->stream);
    ml_pack_text(out, "type");
    ml_pack_str(out, event->type);
    ml_pack_text(out, "schema");
    ml_pack_int(out, event->schema);
    ml_pack_text(out, "id");
    ml_pack_bin(out, (ml_bytes){event->id, ML_ID_SIZE});
    ml_pack_text(out, "tags");
    ml_buf_add(out, event->tags.data, event->tags.size);
    ml_pack_text(out, "data");
    ml_buf_add(out, event->data.data, event->data.size);
    ml_pack_text(out, "meta");
    ml_buf_add(out, event->meta.data, event->meta.size);
    ml_pack_text(out, "occurred");
    if (event->has_occurred) ml_pack_int(out, event->occurred);
    else ml_pack_nil(out);
}
