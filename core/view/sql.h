/* sql.h -- the rows of a view as a table of SQLite, for any tool that speaks SQL.
 *
 *     rows.sqlite    table NAME: key, window_start, window_end if it has windows, and the declared columns;
 *                    table moonlog: position, projection, hash, and what it needs itself
 *
 * It follows the view: after each commit the rows that this changed are written in one SQL
 * transaction, with the position. One that is a commit behind (somebody was killed in between)
 * catches up with ml_view_changed; any other is filled anew from the view. Transactions are not
 * synced, as those of the view; a file of before the machine went down is filled anew too.
 *
 * Floor    view.
 * Threads  that of the view.
 * Crash    rows and position of the last transaction, in step with each other.
 * Errors   as view.h; LOCKED: another program writes to it; BAD_REQUEST: a name cannot be one.
 *          After an error the table is where it was, and the next call catches up.
 * Values   booleans are 0 and 1; what is no INTEGER, REAL, TEXT or BLOB goes in as JSON text.
 */
#ifndef ML_VIEW_SQL_H
#define ML_VIEW_SQL_H

#include "view.h"

typedef struct ml_sql ml_sql;

enum { ML_SQL_COLUMNS_MAX = 64 };

typedef struct ml_sql_column {
    ml_bytes name, path; /* path of the row's field */
    enum { ML_SQL_INTEGER, ML_SQL_REAL, ML_SQL_TEXT, ML_SQL_BLOB, ML_SQL_JSON } type;
} ml_sql_column;

typedef struct ml_sql_about {
    ml_bytes table, projection, hash;
    const ml_sql_column *columns;
    size_t column_count;
    bool windowed;
    const char *boot;
} ml_sql_about;

/* Opens or makes the file, and brings it to where the view is. */
ML_MUST_USE ml_code ml_sql_open(const char *path, const ml_sql_about *about, ml_view *view,
                                ml_sql **sql, ml_error *why);
void ml_sql_close(ml_sql *sql);
/* Follows the last commit of the view. */
ML_MUST_USE ml_code ml_sql_follow(ml_sql *sql, ml_view *view, ml_error *why);

#endif
