/* textdiff.c -- see textdiff.h. The longest common subsequence of lines, of what is left when the
 * same lines at both ends are taken off. */
#include "textdiff.h"

#include <stdlib.h>

#include "cli.h"

enum {
    CELLS_MAX = 1 << 22
}; /* of the table; where it would be larger, all lines in between differ */

typedef struct lines {
    ml_bytes *all;
    size_t count;
} lines;

static bool cut(ml_bytes text, lines *to)
{
    const char *at = text.data, *end = at + text.size;
    size_t count = 0;
    for (size_t n = 0; n < text.size; n++)
        count += at[n] == '\n';
    *to = (lines){.all = calloc(count + 1, sizeof *to->all)};
    if (to->all == NULL) return false;
    while (text.size > 0 && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        to->all[to->count++] = (ml_bytes){at, (size_t)(stop - at)};
        at = stop + 1;
    }
    return true;
}

/* The part that differs: lines from..old_end and from..new_end. */
typedef struct span {
    size_t from, old_end, new_end;
} span;

static span trim(const lines *old, const lines *new)
{
    span s = {0, old->count, new->count};
    while (s.from < s.old_end && s.from < s.new_end &&
           ml_bytes_equal(old->all[s.from], new->all[s.from]))
        s.from++;
    while (s.old_end > s.from && s.new_end > s.from &&
           ml_bytes_equal(old->all[s.old_end - 1], new->all[s.new_end - 1]))
        s.old_end--, s.new_end--;
    return s;
}

static void add_line(ml_buf *out, uint8_t sign, ml_bytes line)
{
    ml_buf_byte(out, sign);
    ml_cli_plain(out, line);
    ml_buf_byte(out, '\n');
}

/* Length of what the rests have in common, for each pair of lines; NULL: too many, or no memory. */
static uint16_t *measure(const lines *old, const lines *new, span s, size_t *width)
{
    size_t rows = s.old_end - s.from, columns = s.new_end - s.from;
    *width = columns + 1;
    if (rows > UINT16_MAX || columns > UINT16_MAX || (rows + 1) * *width > CELLS_MAX) return NULL;
    uint16_t *table = calloc((rows + 1) * *width, sizeof *table);
    if (table == NULL) return NULL;
    for (size_t i = rows; i-- > 0;) {
        for (size_t j = columns; j-- > 0;) {
            uint16_t *cell = &table[i * *width + j], down = cell[*width], right = cell[1];
            if (ml_bytes_equal(old->all[s.from + i], new->all[s.from + j]))
                *cell = (uint16_t)(cell[*width + 1] + 1);
            else
                *cell = down > right ? down : right;
        }
    }
    return table;
}

static void write_span(ml_buf *out, ml_bytes name, const lines *old, const lines *new, span s)
{
    size_t width, i = s.from, j = i;
    uint16_t *table = measure(old, new, s, &width);
    bool open = false;
    while (i < s.old_end || j < s.new_end) {
        bool both = i < s.old_end && j < s.new_end;
        if (both && table != NULL && ml_bytes_equal(old->all[i], new->all[j])) {
            open = false;
            i++, j++;
            continue;
        }
        if (!open) {
            ml_cli_plain(out, name);
            ml_buf_print(out, ":%zu\n", i + 1);
            open = true;
        }
        const uint16_t *cell = table != NULL ? &table[(i - s.from) * width + (j - s.from)] : NULL;
        bool gone = i < s.old_end && (j == s.new_end || cell == NULL || cell[width] >= cell[1]);
        if (gone)
            add_line(out, '-', old->all[i++]);
        else
            add_line(out, '+', new->all[j++]);
    }
    free(table);
}

void ml_textdiff_write(ml_buf *out, ml_bytes name, ml_bytes old, ml_bytes new)
{
    lines before = {0}, after = {0};
    static const char nothing[1];
    if (old.data == NULL) old.data = nothing;
    if (new.data == NULL) new.data = nothing;
    if (!cut(old, &before) || !cut(new, &after))
        out->failed = true;
    else
        write_span(out, name, &before, &after, trim(&before, &after));
    free(before.all);
    free(after.all);
}
