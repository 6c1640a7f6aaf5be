/* show.h -- results on stdout: each a record of named fields, in the shape asked for.
 *
 *     table    a list as aligned columns, a single record as lines "name  value"
 *     json     a list as one array, a single record as one object
 *     ndjson   one object a line
 *     lua      one table constructor a line
 *
 * Floor    cli.
 * Threads  none.
 * Memory   lists stream: about 1 MiB is held, whatever their length.
 * Errors   a failed write is remembered and said by ml_show_end; ml_show_record then gives
 *          false, so that loops can stop early. A closed pipe ends quietly.
 */
#ifndef ML_CLI_SHOW_H
#define ML_CLI_SHOW_H

#include "cli.h"

typedef enum ml_field_kind {
    ML_FIELD_NATURAL,
    ML_FIELD_NUMBER, /* double */
    ML_FIELD_BOOL,
    ML_FIELD_TEXT,
    ML_FIELD_TIME,
    ML_FIELD_ID,
    ML_FIELD_VALUE /* one MessagePack value */
} ml_field_kind;

typedef struct ml_field {
    const char *name;
    ml_field_kind kind;
    uint64_t natural;
    double number;
    bool boolean;
    int64_t time;
    ml_bytes bytes; /* TEXT, VALUE; ID: its 16 bytes */
} ml_field;

#define ML_NATURAL(key, x) ((ml_field){.name = (key), .kind = ML_FIELD_NATURAL, .natural = (x)})
#define ML_NUMBER(key, x) ((ml_field){.name = (key), .kind = ML_FIELD_NUMBER, .number = (x)})
#define ML_BOOL(key, x) ((ml_field){.name = (key), .kind = ML_FIELD_BOOL, .boolean = (x)})
#define ML_TEXT(key, x) ((ml_field){.name = (key), .kind = ML_FIELD_TEXT, .bytes = (x)})
#define ML_TIME(key, x) ((ml_field){.name = (key), .kind = ML_FIELD_TIME, .time = (x)})
#define ML_ID(key, x) \
    ((ml_field){.name = (key), .kind = ML_FIELD_ID, .bytes = {(x), ML_ID_SIZE}})
#define ML_VALUE(key, x) ((ml_field){.name = (key), .kind = ML_FIELD_VALUE, .bytes = (x)})

enum { ML_SHOW_FIELDS_MAX = 24 }; /* of one record */

typedef struct ml_show {
    const ml_cli *cli;
    ml_shape shape;
    bool list;      /* any number of records, or exactly one */
    bool closed;    /* stdout is a closed pipe */
    int failed;     /* errno of the first failed write, or 0 */
    uint64_t count; /* records so far */
    bool one_stream; /* a table of events need not repeat its name; set after begin */
    bool tags;       /* a table of events shows them; set after begin */
    bool slow;       /* a table's rows are shown as they come, so its columns begin wide; set
                      * after begin */
    ml_buf out;
    /* A table's rows wait here until their widths are known. */
    ml_buf rows; /* the text of all cells, one after the other */
    ml_buf ends; /* a size_t for each: where its text ends in `rows` */
    const char *names[ML_SHOW_FIELDS_MAX];
    size_t widths[ML_SHOW_FIELDS_MAX];
    bool right[ML_SHOW_FIELDS_MAX]; /* numbers stand at the right of their column */
    size_t columns;
    bool headed; /* the names of the columns were written */
} ml_show;

/* Begins; the struct need not be initialised. */
void ml_show_begin(ml_show *show, const ml_cli *cli, bool list);

/* Writes one record. Every record of a table has the same fields. False: stop, see end. */
bool ml_show_record(ml_show *show, const ml_field *fields, size_t count);

/* One event, short in a table. In show_event.c. */
bool ml_show_event(ml_show *show, const ml_event *event);

/* Writes what there is now, for lists that come slowly. False: stop. */
bool ml_show_now(ml_show *show);

/* Writes what is left and frees; gives `status`, or ML_EXIT_FAILED after saying that stdout
 * could not be written (nothing is said if its reader has gone). */
int ml_show_end(ml_show *show, int status);

/* A single record from begin to end. */
int ml_show_one(const ml_cli *cli, const ml_field *fields, size_t count, int status);

/* ---- parts, for show.c -------------------------------------------------------------- */

/* Writes `out` to stdout and empties it. False after a failure, now or before. */
bool ml_show_flush(ml_show *show);

/* One MessagePack value as a Lua expression, and a string as a Lua literal on one line.
 * False if the MessagePack is not whole. */
ML_MUST_USE bool ml_show_lua_value(ml_buf *out, ml_bytes value);
void ml_show_lua_string(ml_buf *out, ml_bytes text);
/* ["key"]= or key= */
void ml_show_lua_key(ml_buf *out, ml_bytes key);

/* A row: begin, then each of its cells. False if memory was refused. */
ML_MUST_USE bool ml_show_table_begin_row(ml_show *show, const ml_field *fields, size_t count);
ML_MUST_USE bool ml_show_table_cell(ml_show *show, size_t column, ml_bytes text);
void ml_show_table_end(ml_show *show);

#endif
