/* shape_projection.h -- what a projection's file declares, as plain values. What it means stands in
 * core/projection/projection.h.
 *
 * Floor    rules; uses script.
 * Threads  none.
 * Memory   of the unit; texts end with a NUL.
 */
#ifndef ML_RULES_SHAPE_PROJECTION_H
#define ML_RULES_SHAPE_PROJECTION_H

#include "../base/buf.h"
#include "../script/words.h"

enum {
    ML_SHAPE_PATH_LEVELS = 8,
    ML_SHAPE_PATH_BYTES = 200,
    ML_SHAPE_INDEXES_MAX = 8,
    ML_SHAPE_COLUMNS_MAX = 64,
    ML_SHAPE_KEPT_MIN = 1000 /* events between kept copies: each is a file as large as the view */
};

typedef enum ml_shape_key {
    ML_SHAPE_KEY_NONE, /* one row */
    ML_SHAPE_KEY_STREAM,
    ML_SHAPE_KEY_ID,
    ML_SHAPE_KEY_TYPE,
    ML_SHAPE_KEY_CATEGORY,
    ML_SHAPE_KEY_DATA, /* `path` in it */
    ML_SHAPE_KEY_META,
    ML_SHAPE_KEY_FUNCTION
} ml_shape_key;

typedef enum ml_shape_start { ML_SHAPE_BEGINNING, ML_SHAPE_NOW, ML_SHAPE_POSITION } ml_shape_start;

/* In the order of those of view/sql.h. */
typedef enum ml_shape_type {
    ML_SHAPE_INTEGER,
    ML_SHAPE_REAL,
    ML_SHAPE_TEXT,
    ML_SHAPE_BLOB,
    ML_SHAPE_JSON_TEXT
} ml_shape_type;

typedef struct ml_shape_column {
    ml_bytes name, path;
    ml_shape_type type;
} ml_shape_column;

typedef struct ml_shape_text ml_shape_text;

typedef struct ml_shape_projection {
    ml_bytes stream, category; /* empty: not asked for */
    ml_bytes *types, *tags;
    size_t type_count, tag_count; /* no types: those of `on` */
    ml_shape_key key;
    ml_bytes path;      /* of the key; "data.owner" without the "data." */
    ml_bytes whole_path; /* as it was written */
    uint32_t key_line;  /* where that stands; 0 if unknown */
    ml_bytes indexes[ML_SHAPE_INDEXES_MAX];
    size_t index_count;
    ml_window window;
    int64_t ttl; /* µs; 0: rows stay */
    ml_shape_start start;
    uint64_t start_position;
    bool holds; /* fault = "hold" */
    ml_bytes table; /* of SQL; empty: none is asked for */
    ml_shape_column columns[ML_SHAPE_COLUMNS_MAX];
    size_t column_count;
    uint64_t kept_every; /* events; 0: no copies are kept */
    ml_shape_text *texts; /* what the names above point into */
} ml_shape_projection;

/* NULL is allowed. */
void ml_shape_projection_free(ml_shape_projection *projection);

#endif
