/* whatif_text.c -- see whatif_text.h. */
#include "whatif_text.h"

#include <inttypes.h>

#include "../base/json.h"
#include "../base/text.h"

enum { INDENT = 4, VALUE_BYTES = 400 /* shown of one value */ };

/* ---- values ----------------------------------------------------------------------- */

static ml_kind kind_of(ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    return value.size > 0 ? ml_unpack_next(&cursor).kind : ML_KIND_NIL;
}

/* As JSON, cut off where it is long; nothing that a terminal would obey. */
static void add_value(ml_buf *out, ml_bytes value)
{
    ml_buf text = {0};
    ml_unpack cursor = ml_unpack_from(value);
    if (kind_of(value) == ML_KIND_NIL) {
        ml_buf_print(out, "nothing");
    } else if (ml_json_write(&cursor, &text)) {
        size_t size = text.size < VALUE_BYTES ? text.size : VALUE_BYTES;
        while (size > 0 && !ml_unpack_utf8((ml_bytes){text.data, size})) size--;
        ml_cli_plain(out, (ml_bytes){text.data, size});
        if (size < text.size) ml_buf_print(out, "…");
    }
    ml_buf_free(&text);
}

static void add_indent(ml_buf *out) { ml_buf_print(out, "%*s", INDENT, ""); }

/* ---- what is different in two values ---------------------------------------------- */

static void compare(ml_buf *out, ml_buf *path, ml_bytes before, ml_bytes after);

/* The value of a key in a map that has any kind of keys. */
static ml_bytes find_key(ml_bytes map, ml_bytes key)
{
    ml_unpack cursor = ml_unpack_from(map);
    uint32_t count;
    if (!ml_unpack_map(&cursor, &count)) return (ml_bytes){0};
    for (uint32_t n = 0; n < count; n++) {
        ml_bytes other = ml_unpack_value(&cursor), value = ml_unpack_value(&cursor);
        if (ml_bytes_equal(other, key)) return value;
    }
    return (ml_bytes){0};
}

static void compare_key(ml_buf *out, ml_buf *path, ml_bytes key, ml_bytes before, ml_bytes after)
{
    ml_unpack cursor = ml_unpack_from(key);
    ml_token token = ml_unpack_next(&cursor);
    size_t size = path->size;
    if (token.kind == ML_KIND_STR && size > 0) ml_buf_byte(path, '.');
    if (token.kind == ML_KIND_STR) ml_buf_add(path, token.bytes.data, token.bytes.size);
    else ml_buf_print(path, "[%lld]", (long long)token.integer);
    compare(out, path, before, after);
    path->size = size;
}

static void compare_maps(ml_buf *out, ml_buf *path, ml_bytes before, ml_bytes after)
{
    ml_unpack old = ml_unpack_from(before), new = ml_unpack_from(after);
    uint32_t counts[2] = {0};
    if (!ml_unpack_map(&old, &counts[0]) || !ml_unpack_map(&new, &counts[1])) return;
    for (uint32_t n = 0; n < counts[0]; n++) {
        ml_bytes key = ml_unpack_value(&old), value = ml_unpack_value(&old);
        compare_key(out, path, key, value, find_key(after, key));
    }
    for (uint32_t n = 0; n < counts[1]; n++) {
        ml_bytes key = ml_unpack_value(&new), value = ml_unpack_value(&new);
        if (find_key(before, key).size == 0) compare_key(out, path, key, (ml_bytes){0}, value);
    }
}

static void compare_lists(ml_buf *out, ml_buf *path, ml_bytes before, ml_bytes after)
{
    ml_unpack old = ml_unpack_from(before), new = ml_unpack_from(after);
    uint32_t counts[2] = {0};
    if (!ml_unpack_array(&old, &counts[0]) || !ml_unpack_array(&new, &counts[1])) return;
    for (uint32_t n = 0; n < counts[0] || n < counts[1]; n++) {
        size_t size = path->size;
        ml_buf_print(path, "[%u]", n + 1);
        compare(out, path, n < counts[0] ? ml_unpack_value(&old) : (ml_bytes){0},
                n < counts[1] ? ml_unpack_value(&new) : (ml_bytes){0});
        path->size = size;
    }
}

/* A line for each leaf that differs. */
static void compare(ml_buf *out, ml_buf *path, ml_bytes before, ml_bytes after)
{
    ml_kind kind = kind_of(before);
    if (ml_bytes_equal(before, after)) return;
    if (kind == kind_of(after) && kind == ML_KIND_MAP) {
        compare_maps(out, path, before, after);
    } else if (kind == kind_of(after) && kind == ML_KIND_ARRAY) {
        compare_lists(out, path, before, after);
    } else {
        add_indent(out);
        ml_cli_plain(out, ml_buf_view(path));
        if (path->size > 0) ml_buf_print(out, "  ");
        add_value(out, before);
        ml_buf_print(out, " → ");
        add_value(out, after);
        ml_buf_byte(out, '\n');
    }
}

static void add_changes(ml_buf *out, ml_bytes before, ml_bytes after)
{
    ml_buf path = {0};
    compare(out, &path, before, after);
    ml_buf_free(&path);
}

/* ---- commands --------------------------------------------------------------------- */

static void add_events(ml_buf *out, ml_bytes events)
{
    ml_unpack list = ml_unpack_from(events);
    uint32_t count = 0;
    if (!ml_unpack_array(&list, &count) || count == 0) ml_buf_print(out, "nothing to do");
    for (uint32_t n = 0; n < count; n++) {
        ml_bytes event = ml_unpack_value(&list);
        if (n > 0) ml_buf_print(out, ", ");
        ml_cli_plain(out, ml_unpack_find_str(event, "type"));
        ml_buf_byte(out, ' ');
        add_value(out, ml_unpack_find(event, "data"));
    }
}

static void add_outcome(ml_buf *out, const char *when, ml_bytes outcome)
{
    ml_bytes refused = ml_unpack_find(outcome, "refused"),
             failed = ml_unpack_find_str(outcome, "failed");
    add_indent(out);
    ml_buf_print(out, "%s  ", when);
    if (refused.size > 0) {
        ml_buf_print(out, "refused ");
        ml_cli_plain(out, ml_unpack_find_str(refused, "code"));
        if (kind_of(ml_unpack_find(refused, "detail")) != ML_KIND_NIL) ml_buf_byte(out, ' ');
        if (kind_of(ml_unpack_find(refused, "detail")) != ML_KIND_NIL)
            add_value(out, ml_unpack_find(refused, "detail"));
    } else if (failed.size > 0) {
        ml_buf_print(out, "fails: ");
        ml_cli_plain(out, failed);
    } else {
        add_events(out, ml_unpack_find(outcome, "events"));
    }
    ml_buf_byte(out, '\n');
}

/* ---- one difference --------------------------------------------------------------- */

static void add_fault(ml_buf *out, ml_bytes fault, const char *when)
{
    if (kind_of(fault) == ML_KIND_NIL) return;
    add_indent(out);
    ml_buf_print(out, "%s  ", when);
    ml_cli_plain(out, ml_unpack_find_str(fault, "file"));
    if (ml_client_natural(fault, "line") > 0)
        ml_buf_print(out, ":%" PRIu64, ml_client_natural(fault, "line"));
    if (ml_unpack_find_str(fault, "file").size > 0) ml_buf_print(out, ": ");
    ml_cli_plain(out, ml_unpack_find_str(fault, "message"));
    ml_buf_byte(out, '\n');
    if (ml_unpack_find_str(fault, "source").size == 0) return;
    ml_buf_print(out, "%*s", 2 * INDENT, "");
    ml_cli_plain(out, ml_unpack_find_str(fault, "source"));
    ml_buf_byte(out, '\n');
}

static void add_key(ml_buf *out, ml_bytes difference)
{
    ml_bytes key = ml_unpack_find(difference, "key"),
             window = ml_unpack_find(difference, "window");
    char from[ML_TIME_TEXT + 1];
    if (kind_of(key) == ML_KIND_STR) ml_cli_plain(out, ml_unpack_find_str(difference, "key"));
    else if (kind_of(key) != ML_KIND_NIL) add_value(out, key);
    if (kind_of(key) != ML_KIND_NIL) ml_buf_print(out, "  ");
    if (window.size == 0) return;
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(window, "from"));
    int64_t time = 0;
    if (!ml_unpack_int(&cursor, &time)) return;
    ml_time_write(from, time);
    ml_buf_print(out, "%s  ", from);
}

static void add_first(ml_buf *out, ml_bytes difference, const char *word)
{
    ml_bytes first = ml_unpack_find(difference, "first");
    if (kind_of(first) == ML_KIND_NIL) return;
    add_indent(out);
    ml_buf_print(out, "%s position %" PRIu64 ": ", word, ml_client_natural(first, "position"));
    ml_cli_plain(out, ml_unpack_find_str(first, "type"));
    ml_buf_print(out, ", revision %" PRIu64 " of ", ml_client_natural(first, "revision"));
    ml_cli_plain(out, ml_unpack_find_str(first, "stream"));
    ml_buf_byte(out, '\n');
}

void ml_whatif_text_difference(ml_buf *out, ml_bytes difference)
{
    ml_bytes command = ml_unpack_find_str(difference, "command"),
             kind = ml_unpack_find_str(difference, "kind"),
             where = ml_unpack_find_str(difference, "where"),
             before = ml_unpack_find(difference, "before"),
             after = ml_unpack_find(difference, "after");
    bool fault = ml_bytes_equal(kind, ML_STR("fault"));
    ml_cli_plain(out, ml_unpack_find_str(difference, "unit"));
    ml_buf_print(out, "  ");
    add_key(out, difference);
    ml_cli_plain(out, kind);
    if (command.size > 0) ml_buf_byte(out, ' ');
    ml_cli_plain(out, command);
    if (where.size > 0) ml_buf_print(out, " (%.*s)", ML_SHOW(where));
    ml_buf_byte(out, '\n');
    if (command.size > 0) {
        add_outcome(out, "then", before);
        add_outcome(out, "now ", after);
    } else if (!fault) {
        add_changes(out, before, after);
    }
    if (fault) add_fault(out, ml_unpack_find(difference, "before_fault"), "active");
    if (fault) add_fault(out, ml_unpack_find(difference, "after_fault"), "new");
    add_first(out, difference, command.size > 0 || fault ? "at" : "since");
}

/* ---- one unit --------------------------------------------------------------------- */

static void add_count(ml_buf *out, const char *before, uint64_t count, const char *one,
                      const char *many)
{
    ml_buf_print(out, "%s%" PRIu64 " %s", before, count, count == 1 ? one : many);
}

uint64_t ml_whatif_text_count(ml_bytes unit)
{
    return ml_client_natural(unit, "differing") + ml_client_natural(unit, "refused") +
           ml_client_natural(unit, "allowed") + ml_client_natural(unit, "others");
}

static void add_commands(ml_buf *out, ml_bytes unit)
{
    uint64_t commands = ml_client_natural(unit, "commands");
    if (commands == 0) return;
    add_count(out, "; ", commands, "command decided again: ", "commands decided again: ");
    ml_buf_print(out, "%" PRIu64 " would be refused, %" PRIu64 " allowed, %" PRIu64 " otherwise",
                 ml_client_natural(unit, "refused"), ml_client_natural(unit, "allowed"),
                 ml_client_natural(unit, "others"));
}

void ml_whatif_text_unit(ml_buf *out, ml_bytes unit)
{
    ml_bytes name = ml_unpack_find_str(unit, "unit"), status = ml_unpack_find_str(unit, "status");
    bool rows = ml_bytes_begins(name, ML_STR("projection/"));
    if (ml_bytes_equal(status, ML_STR("same"))) return;
    ml_cli_plain(out, name);
    ml_buf_print(out, ": ");
    if (!ml_bytes_equal(status, ML_STR("changed")) || ml_bytes_begins(name, ML_STR("upcast/"))) {
        ml_cli_plain(out, status);
        ml_buf_byte(out, '\n');
        return;
    }
    add_count(out, "", ml_client_natural(unit, "events"), "event", "events");
    add_count(out, ", ", ml_client_natural(unit, "rows"), rows ? "row" : "state",
              rows ? "rows" : "states");
    add_count(out, ", ", ml_client_natural(unit, "differing"), "differs", "differ");
    if (ml_client_natural(unit, "transient") > 0)
        add_count(out, ", ", ml_client_natural(unit, "transient"), "did for a while",
                  "did for a while");
    if (ml_client_natural(unit, "earlier") > 0)
        add_count(out, ", ", ml_client_natural(unit, "earlier"), "began before --from",
                  "began before --from");
    add_commands(out, unit);
    ml_buf_byte(out, '\n');
}
