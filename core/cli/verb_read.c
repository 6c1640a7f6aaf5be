/* verb_read.c -- events out of the store: read and export print the same object. */
#include <stdlib.h>

#include "progress.h"
#include "show.h"

enum {
    FIELDS = 11,
    PROGRESS_EVERY = 4096,
    UNREADABLE_MAX = 100 /* in a row; then more of the same would not help anyone */
};

/* ---- an event as a record ------------------------------------------------------------- */

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

/* What of a read is shown. */
typedef struct scope {
    uint64_t first, last; /* positions; for the end and the bar */
    bool one_stream;      /* a table need not repeat its name */
    bool tags;            /* a table shows them */
} scope;

/* What fits the width of a screen. */
static size_t short_event(const ml_event *event, const scope *view, ml_field fields[FIELDS])
{
    size_t count = 0;
    fields[count++] = ML_NATURAL("position", event->position);
    fields[count++] = ML_NATURAL("revision", event->revision);
    fields[count++] = ML_TIME("time", event->time);
    if (!view->one_stream) fields[count++] = ML_TEXT("stream", event->stream);
    fields[count++] = ML_TEXT("type", event->type);
    if (view->tags) fields[count++] = ML_VALUE("tags", event->tags);
    fields[count++] = ML_VALUE("data", event->data);
    return count;
}

static bool show_event(ml_show *show, const scope *view, const ml_event *event)
{
    ml_field fields[FIELDS];
    size_t count = show->shape == ML_SHAPE_TABLE ? short_event(event, view, fields)
                                                 : whole_event(event, fields);
    return ml_show_record(show, fields, count);
}

/* ---- the loop ----------------------------------------------------------------------- */

/* Shows the events of the cursor up to view->last. One that cannot be read is said, and the
 * others are shown all the same. */
static int show_events(const ml_cli *cli, ml_store *store, ml_cursor *cursor, const scope *view,
                       ml_show *show, ml_progress *progress)
{
    int status = ML_EXIT_OK;
    unsigned unreadable = 0;
    for (uint64_t seen = 0;; seen++) {
        ml_event event;
        ml_code code = ml_next(cursor, &event);
        if (code == ML_END) return status;
        if (code != ML_OK) {
            ml_progress_end(progress);
            status = ml_cli_why(cli, code, store);
            if (code != ML_CORRUPT || ++unreadable == UNREADABLE_MAX) return status;
            continue;
        }
        unreadable = 0;
        if (event.position > view->last || !show_event(show, view, &event)) return status;
        if (seen % PROGRESS_EVERY == 0)
            ml_progress_move(progress, event.position - view->first, seen);
    }
}

/* Events that cannot be read are missing from the index too, so a stream may look whole that
 * is not: in a damaged store no read is a success. */
static int say_damage(const ml_cli *cli, ml_store *store)
{
    ml_stats stats;
    ml_code code = ml_get_stats(store, &stats);
    if (code != ML_OK) return ml_cli_why(cli, code, store);
    return stats.damaged ? ml_cli_why(cli, ML_CORRUPT, store) : ML_EXIT_OK;
}

static int show_selection(const ml_cli *cli, ml_store *store, const ml_selection *selection,
                          const scope *view, ml_progress *progress)
{
    int damage = say_damage(cli, store);
    ml_cursor *cursor;
    ml_code code = ml_read(store, selection, &cursor);
    if (code != ML_OK) return ml_cli_why(cli, code, store);
    ml_show show;
    ml_show_begin(&show, cli, true);
    int status = show_events(cli, store, cursor, view, &show, progress);
    ml_progress_end(progress);
    ml_cursor_free(cursor);
    return ml_show_end(&show, status != ML_EXIT_OK ? status : damage);
}

/* ---- read --------------------------------------------------------------------------- */

/* The values of an option that may come again; *values wants free(). */
static bool take_terms(const ml_cli *cli, const char *name, ml_bytes **values, size_t *count)
{
    *count = ml_options_count(cli, name);
    *values = calloc(*count + 1, sizeof **values);
    if (*values == NULL) return false;
    for (size_t i = 0; i < *count; i++) (*values)[i] = ml_cli_text(ml_options_at(cli, name, i));
    return true;
}

/* '$all', '$category:C' or a stream. */
static bool take_source(const char *word, ml_selection *selection)
{
    static const char category[] = "$category:";
    size_t size = sizeof category - 1;
    if (strcmp(word, "$all") == 0) return true;
    if (strncmp(word, category, size) == 0) {
        selection->category = ml_cli_text(word + size);
        return selection->category.size > 0;
    }
    selection->stream = ml_cli_text(word);
    return selection->stream.size > 0;
}

static int read_events(const ml_cli *cli, ml_selection *selection, ml_query_item *item)
{
    if (item->type_count + item->tag_count > 0) selection->query = (ml_query){item, 1};
    ml_store *store;
    int status;
    if (!ml_cli_open(cli, false, &store, &status)) return status;
    ml_progress quiet = {0};
    scope view = {.first = 1, .last = UINT64_MAX, .one_stream = selection->stream.size > 0,
                 .tags = item->tag_count > 0};
    status = show_selection(cli, store, selection, &view, &quiet);
    ML_IGNORE(ml_close(store) != ML_OK); /* it was open for reading: there is nothing to lose */
    return status;
}

int ml_verb_read(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    ml_selection selection = {.system = ml_options_has(cli, "system"),
                              .backward = ml_options_has(cli, "backward"),
                              .has_from = ml_options_has(cli, "from")};
    if (!take_source(argv[1], &selection))
        return ml_cli_usage(cli, "read wants a stream, '$all' or '$category:C', and not '%.512s'",
                            argv[1]);
    if (!ml_options_natural(cli, "from", 0, UINT64_MAX, &selection.from) ||
        !ml_options_natural(cli, "limit", 1, UINT64_MAX, &selection.limit))
        return ML_EXIT_USAGE;
    ml_bytes *types = NULL, *tags = NULL;
    ml_query_item item = {0};
    bool taken = take_terms(cli, "type", &types, &item.type_count) &&
                 take_terms(cli, "tag", &tags, &item.tag_count);
    item.types = types;
    item.tags = tags;
    int status = taken ? read_events(cli, &selection, &item)
                       : ml_cli_fail(cli, ML_NO_MEMORY, "no memory for what to select");
    free(types);
    free(tags);
    return status;
}

/* ---- export ------------------------------------------------------------------------- */

static int export_span(const ml_cli *cli, ml_store *store, scope span)
{
    ml_head head;
    ml_code code = ml_get_head(store, (ml_bytes){0}, &head);
    if (code != ML_OK) return ml_cli_why(cli, code, store);
    if (span.last > head.position) span.last = head.position;
    ml_selection selection = {.system = true, .has_from = true, .from = span.first};
    ml_progress progress;
    uint64_t total = span.last >= span.first ? span.last - span.first + 1 : 0;
    ml_progress_begin(&progress, cli, "exporting", total);
    if (cli->width > 0) progress.on = false; /* the events themselves are on the screen */
    return show_selection(cli, store, &selection, &span, &progress);
}

int ml_verb_export(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    scope span = {.first = 1, .last = UINT64_MAX};
    if (!ml_options_natural(cli, "from", 1, UINT64_MAX, &span.first) ||
        !ml_options_natural(cli, "to", 1, UINT64_MAX, &span.last))
        return ML_EXIT_USAGE;
    if (span.last < span.first)
        return ml_cli_usage(cli, "--to %llu lies before --from %llu",
                            (unsigned long long)span.last, (unsigned long long)span.first);
    ml_cli shaped = *cli;
    if (!ml_options_has(cli, "output")) shaped.shape = ML_SHAPE_NDJSON;
    ml_store *store;
    int status;
    if (!ml_cli_open(&shaped, false, &store, &status)) return status;
    status = export_span(&shaped, store, span);
    ML_IGNORE(ml_close(store) != ML_OK); /* it was open for reading: there is nothing to lose */
    return status;
}
