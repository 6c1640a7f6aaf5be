/* show_table.c -- a list of records as aligned columns.
 *
 * Rows wait until some hundreds are there, so that their widths are known, and are then
 * written together; later ones may widen a column and never narrow it. Where rows cannot wait,
 * columns begin as wide as most names are. The last column is cut at the edge of a terminal,
 * unless too little of it would be left: then its lines run over.
 */
#include "show.h"

enum { WAITING_ROWS_MAX = 400, WAITING_BYTES_MAX = 256 << 10, GAP = 2, LAST_MIN = 30 };

/* Of a slow table: names such as account-4711 and ItemAdded. */
enum { TEXT_WIDTH = 16, VALUE_WIDTH = 20 };

/* Characters, not bytes; a character counts one column. */
static size_t count_columns(ml_bytes text)
{
    const uint8_t *data = text.data;
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++) count += (data[i] & 0xc0) != 0x80;
    return count;
}

/* The start of the text that takes `columns` columns at most. */
static ml_bytes cut(ml_bytes text, size_t columns)
{
    const uint8_t *data = text.data;
    size_t size = 0;
    for (; size < text.size; size++)
        if ((data[size] & 0xc0) != 0x80 && columns-- == 0) break;
    return (ml_bytes){data, size};
}

static void add_spaces(ml_buf *out, size_t count)
{
    for (; count > 0; count--) ml_buf_byte(out, ' ');
}

/* Behind a last cell that is empty. */
static void trim(ml_buf *out)
{
    while (out->size > 0 && out->data[out->size - 1] == ' ') out->size--;
}

static void add_cell(ml_show *show, size_t column, size_t start, ml_bytes text)
{
    ml_buf *out = &show->out;
    size_t used = count_columns(text), width = show->widths[column];
    bool last = column + 1 == show->columns;
    size_t edge = show->cli->width > start + LAST_MIN ? show->cli->width : start + LAST_MIN;
    if (last && show->cli->width > 0 && start + used > edge) {
        ml_bytes shown = cut(text, edge - start - 1);
        ml_buf_add(out, shown.data, shown.size);
        ml_buf_print(out, "…");
        return;
    }
    size_t blank = used < width ? width - used : 0;
    if (show->right[column]) add_spaces(out, blank);
    ml_buf_add(out, text.data, text.size);
    if (!show->right[column] && !last) add_spaces(out, blank);
}

/* One line of cells; `ends` says where each ends in `text`. */
static void add_line(ml_show *show, const uint8_t *text, size_t from, const size_t *ends)
{
    size_t start = 0;
    for (size_t i = 0; i < show->columns; i++) {
        add_cell(show, i, start, (ml_bytes){text + from, ends[i] - from});
        if (i + 1 < show->columns) add_spaces(&show->out, GAP);
        start += show->widths[i] + GAP;
        from = ends[i];
    }
    trim(&show->out);
    ml_buf_byte(&show->out, '\n');
}

static void add_head(ml_show *show)
{
    if (show->cli->colour) ml_buf_print(&show->out, "\x1b[1m");
    size_t start = 0;
    for (size_t i = 0; i < show->columns; i++) {
        add_cell(show, i, start, ml_cli_text(show->names[i]));
        if (i + 1 < show->columns) add_spaces(&show->out, GAP);
        start += show->widths[i] + GAP;
    }
    ml_buf_print(&show->out, show->cli->colour ? "\x1b[0m\n" : "\n");
}

/* Writes the rows that wait. */
static void add_waiting(ml_show *show)
{
    size_t from = 0, count = show->ends.size / sizeof(size_t);
    if (count == 0) return;
    if (!show->headed) add_head(show);
    show->headed = true;
    for (size_t row = 0; row + show->columns <= count; row += show->columns) {
        const size_t *ends = (const size_t *)(const void *)show->ends.data + row;
        add_line(show, show->rows.data, from, ends);
        from = ends[show->columns - 1];
    }
    ml_buf_clear(&show->rows);
    ml_buf_clear(&show->ends);
}

static size_t first_width(const ml_show *show, const ml_field *field)
{
    size_t width = strlen(field->name), wide = 0;
    if (show->slow && field->kind == ML_FIELD_TEXT) wide = TEXT_WIDTH;
    if (show->slow && field->kind == ML_FIELD_TIME) wide = sizeof "2026-01-31T12:00:00Z" - 1;
    if (show->slow && field->kind == ML_FIELD_VALUE) wide = VALUE_WIDTH;
    return width > wide ? width : wide;
}

bool ml_show_table_begin_row(ml_show *show, const ml_field *fields, size_t count)
{
    if (show->columns == 0) {
        for (size_t i = 0; i < count; i++) {
            show->names[i] = fields[i].name;
            show->widths[i] = first_width(show, &fields[i]);
            show->right[i] =
                fields[i].kind == ML_FIELD_NATURAL || fields[i].kind == ML_FIELD_NUMBER;
        }
        show->columns = count;
    }
    ML_ASSERT(count == show->columns);
    bool full = show->ends.size >= WAITING_ROWS_MAX * count * sizeof(size_t) ||
                show->rows.size >= WAITING_BYTES_MAX;
    if (full) add_waiting(show);
    return !show->out.failed;
}

bool ml_show_table_cell(ml_show *show, size_t column, ml_bytes text)
{
    size_t width = count_columns(text);
    if (width > show->widths[column]) show->widths[column] = width;
    ml_buf_add(&show->rows, text.data, text.size);
    ml_buf_add(&show->ends, &show->rows.size, sizeof show->rows.size);
    return !show->rows.failed && !show->ends.failed;
}

void ml_show_table_end(ml_show *show)
{
    if (!show->out.failed) add_waiting(show);
}
