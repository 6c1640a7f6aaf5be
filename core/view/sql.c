/* sql.c -- rows of a view into SQLite, with prepared statements, one transaction for each commit.
 *
 * Transactions are not synced, as those of the view: the table moonlog says in which boot of the
 * machine they were made, and nothing once the file was synced and closed. It also keeps
 * the digest of the rows, so that a file that is not this view's is never taken for it.
 */
#include "sql.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "../base/json.h"
#include "../base/unpack.h"
#include "field.h"

enum { NAME_BYTES = 200 };

struct ml_sql {
    sqlite3 *db;
    sqlite3_stmt *put, *drop, *mark;
    char *path, *table; /* quoted */
    ml_buf paths;       /* of the columns, one behind the other */
    ml_sql_column columns[ML_SQL_COLUMNS_MAX];
    size_t count;
    bool windowed;
    char boot[ML_VIEW_BOOT];
    ml_buf projection, hash;
    uint64_t commits; /* of the view, that this has */
    ml_buf value;     /* a key, or JSON, on its way */
    ml_error *why;    /* of the call that runs */
};

/* ---- sentences -------------------------------------------------------------------------- */

static ml_code code_of(int result, int number)
{
    if (number == ENOSPC || number == EDQUOT || number == EFBIG) return ML_NO_SPACE;
    switch (result & 0xff) {
    case SQLITE_FULL: return ML_NO_SPACE;
    case SQLITE_NOMEM: return ML_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR: return ML_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ML_LOCKED;
    case SQLITE_READONLY: return ML_READ_ONLY;
    case SQLITE_TOOBIG: return ML_TOO_LARGE;
    default: return ML_IO;
    }
}

static ml_code refuse(ml_sql *sql, int result, const char *doing)
{
    int number = errno; /* sqlite3_system_errno forgets it over a rollback */
    bool failed = (result & 0xff) == SQLITE_IOERR || (result & 0xff) == SQLITE_FULL;
    ml_code code = code_of(result, failed ? number : 0);
    const char *advice = code == ML_NO_SPACE  ? "free some space, then try again"
                         : code == ML_LOCKED  ? "end the program that writes to it, then try again"
                         : code == ML_CORRUPT ? "remove it, and it is filled again"
                                              : "look at the directory and its disk";
    return ml_error_set(sql->why, code, "cannot %s %.600s: %s; %s", doing, sql->path,
                        sql->db != NULL ? sqlite3_errmsg(sql->db) : sqlite3_errstr(result), advice);
}

static ml_code refuse_memory(ml_sql *sql)
{
    return ml_error_memory(sql->why, "a table of rows");
}

static ml_code run(ml_sql *sql, const char *statement)
{
    errno = 0;
    int result = sqlite3_exec(sql->db, statement, NULL, NULL, NULL);
    return result == SQLITE_OK ? ML_OK : refuse(sql, result, "write");
}

/* ---- names ------------------------------------------------------------------------------ */

static bool is_word(ml_bytes name, const char *word)
{
    return name.size == strlen(word) && strncasecmp(name.data, word, name.size) == 0;
}

static bool is_name(ml_bytes name)
{
    return name.size > 0 && name.size <= NAME_BYTES && memchr(name.data, 0, name.size) == NULL &&
           ml_unpack_utf8(name);
}

static ml_code refuse_name(ml_error *why, const char *what, ml_bytes name, const char *reason)
{
    return ml_error_set(why, ML_BAD_REQUEST, "'%.*s' cannot be a %s: %s; choose another name",
                        (int)(name.size > NAME_BYTES ? NAME_BYTES : name.size),
                        (const char *)name.data, what, reason);
}

static ml_code check_column(const ml_sql_about *about, size_t n, ml_error *why)
{
    ml_bytes name = about->columns[n].name;
    if (!is_name(name)) return refuse_name(why, "column", name, "it is empty, too long or no text");
    if (!ml_field_is_path(about->columns[n].path))
        return refuse_name(why, "column", name, "what it shows is no path of a field");
    if (is_word(name, "key") || is_word(name, "window_start") || is_word(name, "window_end"))
        return refuse_name(why, "column", name, "a table has one of this name already");
    for (size_t other = 0; other < n; other++)
        if (about->columns[other].name.size == name.size &&
            strncasecmp(about->columns[other].name.data, name.data, name.size) == 0)
            return refuse_name(why, "column", name, "there are two of them");
    return ML_OK;
}

static ml_code check_names(const ml_sql_about *about, ml_error *why)
{
    if (about->column_count > ML_SQL_COLUMNS_MAX)
        return ml_error_set(why, ML_LIMIT, "a table has %zu columns, the limit is %d",
                            about->column_count, ML_SQL_COLUMNS_MAX);
    if (!is_name(about->table))
        return refuse_name(why, "table", about->table, "it is empty, too long or no text");
    if (is_word(about->table, "moonlog") ||
        (about->table.size >= 7 && strncasecmp(about->table.data, "sqlite_", 7) == 0))
        return refuse_name(why, "table", about->table, "it is taken");
    for (size_t n = 0; n < about->column_count; n++) {
        ml_code code = check_column(about, n, why);
        if (code) return code;
    }
    return ML_OK;
}

/* A name in double quotes, those in it doubled. */
static void add_name(ml_buf *text, ml_bytes name)
{
    const uint8_t *at = name.data;
    ml_buf_byte(text, '"');
    for (size_t n = 0; n < name.size; n++) {
        if (at[n] == '"') ml_buf_byte(text, '"');
        ml_buf_byte(text, at[n]);
    }
    ml_buf_byte(text, '"');
}

/* ---- statements ------------------------------------------------------------------------- */

/* No affinity: a key keeps its type. */
static void add_create(ml_buf *text, const ml_sql_about *about)
{
    static const char *const types[] = {"INTEGER", "REAL", "TEXT", "BLOB", "TEXT"};
    ml_buf_print(text, "CREATE TABLE ");
    add_name(text, about->table);
    ml_buf_print(text, " (key NOT NULL");
    if (about->windowed)
        ml_buf_print(text, ", window_start INTEGER NOT NULL, window_end INTEGER NOT NULL");
    for (size_t n = 0; n < about->column_count; n++) {
        ml_buf_print(text, ", ");
        add_name(text, about->columns[n].name);
        ml_buf_print(text, " %s", types[about->columns[n].type]);
    }
    ml_buf_print(text, ", PRIMARY KEY (key%s)) WITHOUT ROWID",
                 about->windowed ? ", window_start, window_end" : "");
    ml_buf_byte(text, '\0');
}

static ml_code prepare(ml_sql *sql, ml_buf *text, sqlite3_stmt **statement)
{
    ml_buf_byte(text, '\0');
    if (text->failed) return refuse_memory(sql);
    int result = sqlite3_prepare_v3(sql->db, (const char *)text->data, -1,
                                    SQLITE_PREPARE_PERSISTENT, statement, NULL);
    ml_buf_clear(text);
    return result == SQLITE_OK ? ML_OK : refuse(sql, result, "use");
}

static ml_code prepare_all(ml_sql *sql)
{
    ml_buf text = {0};
    size_t values = sql->count + (sql->windowed ? 3 : 1);
    ml_buf_print(&text, "REPLACE INTO %s VALUES (?", sql->table);
    for (size_t n = 1; n < values; n++)
        ml_buf_print(&text, ", ?");
    ml_buf_print(&text, ")");
    ml_code code = prepare(sql, &text, &sql->put);
    ml_buf_print(&text, "DELETE FROM %s WHERE key = ?%s", sql->table,
                 sql->windowed ? " AND window_start = ? AND window_end = ?" : "");
    if (!code) code = prepare(sql, &text, &sql->drop);
    ml_buf_print(&text, "UPDATE moonlog SET position = ?, commits = ?, digest = ?");
    if (!code) code = prepare(sql, &text, &sql->mark);
    ml_buf_free(&text);
    return code;
}

static ml_code step(ml_sql *sql, sqlite3_stmt *statement)
{
    errno = 0;
    int result = sqlite3_step(statement);
    if (result == SQLITE_DONE) result = SQLITE_OK;
    ml_code code = result == SQLITE_OK ? ML_OK : refuse(sql, result, "write");
    sqlite3_reset(statement); /* says again what step said */
    return code;
}

/* ---- values ----------------------------------------------------------------------------- */

static int bind_bytes(sqlite3_stmt *to, int at, ml_bytes bytes, bool text)
{
    const char *data = bytes.size > 0 ? bytes.data : "";
    if (text && ml_unpack_utf8(bytes))
        return sqlite3_bind_text64(to, at, data, bytes.size, SQLITE_STATIC, SQLITE_UTF8);
    return sqlite3_bind_blob64(to, at, data, bytes.size, SQLITE_STATIC);
}

/* JSON stays only until the next value: it is copied. */
static int bind_json(ml_sql *sql, sqlite3_stmt *to, int at, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    ml_buf_clear(&sql->value);
    if (!ml_json_write(&cursor, &sql->value)) return sqlite3_bind_null(to, at);
    if (sql->value.failed) return SQLITE_NOMEM;
    return sqlite3_bind_text64(to, at, (const char *)sql->value.data, sql->value.size,
                               SQLITE_TRANSIENT, SQLITE_UTF8);
}

static int bind_value(ml_sql *sql, sqlite3_stmt *to, int at, ml_bytes value, bool json)
{
    ml_unpack cursor = ml_unpack_from(value);
    ml_token token = ml_unpack_next(&cursor);
    if (json && token.kind != ML_KIND_NONE && token.kind != ML_KIND_NIL)
        return bind_json(sql, to, at, value);
    switch (token.kind) {
    case ML_KIND_NONE:
    case ML_KIND_NIL: return sqlite3_bind_null(to, at);
    case ML_KIND_BOOL: return sqlite3_bind_int(to, at, token.boolean);
    case ML_KIND_INT: return sqlite3_bind_int64(to, at, token.integer);
    case ML_KIND_FLOAT: return sqlite3_bind_double(to, at, token.number);
    case ML_KIND_STR: return bind_bytes(to, at, token.bytes, true);
    case ML_KIND_BIN: return bind_bytes(to, at, token.bytes, false);
    case ML_KIND_UINT:
    case ML_KIND_EXT:
    case ML_KIND_ARRAY:
    case ML_KIND_MAP: return bind_json(sql, to, at, value);
    }
    return SQLITE_ERROR;
}

/* The key, and its window if rows have one; `*next` is the place behind. The key's bytes stay in
 * `kept`. */
static ml_code bind_key(ml_sql *sql, sqlite3_stmt *to, ml_bytes key, ml_buf *kept, int *next)
{
    bool windowed;
    int64_t start, end;
    if (!ml_key_pack(key, kept, &windowed, &start, &end) || windowed != sql->windowed)
        return ml_error_set(sql->why, ML_CORRUPT,
                            "a key of the view is not one of the table in %.600s", sql->path);
    if (kept->failed) return refuse_memory(sql);
    int result = bind_value(sql, to, 1, ml_buf_view(kept), false);
    *next = 2;
    if (result == SQLITE_OK && windowed) result = sqlite3_bind_int64(to, (*next)++, start);
    if (result == SQLITE_OK && windowed) result = sqlite3_bind_int64(to, (*next)++, end);
    return result == SQLITE_OK ? ML_OK : refuse(sql, result, "write");
}

static ml_code put_row(ml_sql *sql, ml_bytes key, ml_bytes row)
{
    int at;
    ml_buf kept = {0};
    ml_code code = bind_key(sql, sql->put, key, &kept, &at);
    for (size_t n = 0; n < sql->count && !code; n++) {
        ml_bytes value = ml_field_find(row, sql->columns[n].path);
        int result = bind_value(sql, sql->put, at++, value, sql->columns[n].type == ML_SQL_JSON);
        if (result != SQLITE_OK) code = refuse(sql, result, "write");
    }
    if (!code) code = step(sql, sql->put);
    ml_buf_free(&kept);
    return code;
}

static ml_code drop_row(ml_sql *sql, ml_bytes key)
{
    int at;
    ml_buf kept = {0};
    ml_code code = bind_key(sql, sql->drop, key, &kept, &at);
    if (!code) code = step(sql, sql->drop);
    ml_buf_free(&kept);
    return code;
}

/* ---- following -------------------------------------------------------------------------- */

typedef struct following {
    ml_sql *sql;
    ml_code code;
} following;

static bool follow_row(void *context, ml_bytes key, ml_bytes row)
{
    following *f = context;
    f->code = row.data != NULL ? put_row(f->sql, key, row) : drop_row(f->sql, key);
    return f->code == ML_OK;
}

static ml_code copy_changes(ml_sql *sql, ml_view *view)
{
    uint64_t from;
    following f = {.sql = sql};
    ml_code code = ml_view_changed(view, &from, follow_row, &f, sql->why);
    return code ? code : f.code;
}

static ml_code copy_all(ml_sql *sql, ml_view *view)
{
    ml_buf text = {0};
    following f = {.sql = sql};
    ml_view_range all = {.index = -1};
    ml_buf_print(&text, "DELETE FROM %s", sql->table);
    ml_buf_byte(&text, '\0');
    ml_code code = text.failed ? refuse_memory(sql) : run(sql, (const char *)text.data);
    ml_buf_free(&text);
    if (!code) code = ml_view_scan(view, &all, follow_row, &f, sql->why);
    return code ? code : f.code;
}

static ml_code mark(ml_sql *sql, const ml_view_stats *stats)
{
    int result = sqlite3_bind_int64(sql->mark, 1, (int64_t)stats->position);
    if (result == SQLITE_OK) result = sqlite3_bind_int64(sql->mark, 2, (int64_t)stats->commits);
    if (result == SQLITE_OK)
        result = sqlite3_bind_blob(sql->mark, 3, stats->digest, ML_VIEW_DIGEST, SQLITE_STATIC);
    return result == SQLITE_OK ? step(sql, sql->mark) : refuse(sql, result, "write");
}

/* All of it in one transaction. */
static ml_code follow(ml_sql *sql, ml_view *view, const ml_view_stats *stats)
{
    ml_code code = run(sql, "BEGIN IMMEDIATE");
    if (code) return code;
    code = stats->commits == sql->commits + 1 ? copy_changes(sql, view) : copy_all(sql, view);
    if (!code) code = mark(sql, stats);
    if (!code) code = run(sql, "COMMIT");
    if (!code)
        sql->commits = stats->commits;
    else if (!sqlite3_get_autocommit(sql->db))
        ML_IGNORE(sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL) !=
                  SQLITE_OK); /* said already */
    return code;
}

ml_code ml_sql_follow(ml_sql *sql, ml_view *view, ml_error *why)
{
    ml_view_stats stats;
    sql->why = why;
    ml_view_get_stats(view, &stats);
    return stats.commits == sql->commits ? ML_OK : follow(sql, view, &stats);
}

/* ---- opening ---------------------------------------------------------------------------- */

static bool is_text(sqlite3_stmt *from, int at, ml_bytes wanted)
{
    size_t size = (size_t)sqlite3_column_bytes(from, at);
    const void *data = sqlite3_column_blob(from, at);
    return size == wanted.size && (size == 0 || memcmp(data, wanted.data, size) == 0);
}

/* Does the file say that it is this table's, and whole? `*same`: and as the view is now. */
static bool is_ours(ml_sql *sql, const ml_view_stats *stats, bool *same)
{
    sqlite3_stmt *read;
    bool ours = false;
    if (sqlite3_prepare_v2(sql->db,
                           "SELECT projection, hash, boot, commits, position, digest FROM moonlog",
                           -1, &read, NULL) != SQLITE_OK)
        return false;
    if (sqlite3_step(read) == SQLITE_ROW) {
        bool closed = sqlite3_column_type(read, 2) == SQLITE_NULL;
        ml_bytes boot = {sql->boot, strlen(sql->boot)};
        ours = is_text(read, 0, ml_buf_view(&sql->projection)) &&
               is_text(read, 1, ml_buf_view(&sql->hash)) &&
               (closed || (boot.size > 0 && is_text(read, 2, boot)));
        sql->commits = (uint64_t)sqlite3_column_int64(read, 3);
        *same = (uint64_t)sqlite3_column_int64(read, 4) == stats->position &&
                is_text(read, 5, (ml_bytes){stats->digest, ML_VIEW_DIGEST});
    }
    sqlite3_finalize(read);
    return ours;
}

static ml_code set_boot(ml_sql *sql, const char *boot)
{
    sqlite3_stmt *set;
    int result = sqlite3_prepare_v2(sql->db, "UPDATE moonlog SET boot = ?", -1, &set, NULL);
    if (result != SQLITE_OK) return refuse(sql, result, "use");
    if (boot != NULL) result = sqlite3_bind_text(set, 1, boot, -1, SQLITE_STATIC);
    ml_code code = result == SQLITE_OK ? step(sql, set) : refuse(sql, result, "write");
    sqlite3_finalize(set);
    return code;
}

static ml_code make_tables(ml_sql *sql, const ml_sql_about *about)
{
    ml_buf text = {0};
    ml_buf_print(&text,
                 "BEGIN; CREATE TABLE moonlog (position INTEGER, projection TEXT, hash TEXT, "
                 "commits INTEGER, digest BLOB, boot TEXT); ");
    add_create(&text, about);
    ml_code code = text.failed ? refuse_memory(sql) : run(sql, (const char *)text.data);
    ml_buf_free(&text);
    if (code) return code;
    sqlite3_stmt *put;
    int result = sqlite3_prepare_v2(
        sql->db, "INSERT INTO moonlog (position, commits, projection, hash) VALUES (0, 0, ?, ?)",
        -1, &put, NULL);
    if (result != SQLITE_OK) return refuse(sql, result, "use");
    result = bind_bytes(put, 1, ml_buf_view(&sql->projection), true);
    if (result == SQLITE_OK) result = bind_bytes(put, 2, ml_buf_view(&sql->hash), true);
    code = result == SQLITE_OK ? step(sql, put) : refuse(sql, result, "write");
    sqlite3_finalize(put);
    return code ? code : run(sql, "COMMIT");
}

/* Without the links on the way to the table's directory: one in the place of the table itself is
 * not followed. */
static bool resolve(const char *path, char real[PATH_MAX])
{
    const char *name = strrchr(path, '/');
    char *dir = name != NULL ? strndup(path, (size_t)(name - path)) : NULL;
    char *found = dir != NULL ? realpath(dir, NULL) : NULL;
    int size = found != NULL ? snprintf(real, PATH_MAX, "%s%s", found, name) : PATH_MAX;
    free(dir);
    free(found);
    return size < PATH_MAX;
}

/* WAL, so that others read while we write. */
static ml_code connect(ml_sql *sql)
{
    char real[PATH_MAX];
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (!resolve(sql->path, real)) return refuse(sql, SQLITE_CANTOPEN, "open");
    int result = sqlite3_open_v2(real, &sql->db, flags, NULL);
    if (result != SQLITE_OK) return refuse(sql, result, "open");
    return run(sql,
               "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY");
}

static void disconnect(ml_sql *sql)
{
    sqlite3_finalize(sql->put);
    sqlite3_finalize(sql->drop);
    sqlite3_finalize(sql->mark);
    sql->put = sql->drop = sql->mark = NULL;
    ML_IGNORE(sqlite3_close(sql->db) != SQLITE_OK); /* every statement is finalized */
    sql->db = NULL;
}

static ml_code remove_files(ml_sql *sql)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char path[4096];
    for (size_t n = 0; n < sizeof ends / sizeof *ends; n++) {
        snprintf(path, sizeof path, "%s%s", sql->path, ends[n]);
        if (unlink(path) != 0 && errno != ENOENT)
            return ml_error_disk(sql->why, -errno, "remove", path);
    }
    return ML_OK;
}

/* From nothing: the file is derived, like the view. */
static ml_code begin_anew(ml_sql *sql, const ml_sql_about *about)
{
    disconnect(sql);
    ml_code code = remove_files(sql);
    if (!code) code = connect(sql);
    if (!code) code = make_tables(sql, about);
    return code;
}

/* The boot is on the disk before the first transaction that is not synced. */
static ml_code begin(ml_sql *sql, const ml_sql_about *about, const ml_view_stats *stats, bool *same)
{
    ml_code code = connect(sql);
    bool ours = !code && is_ours(sql, stats, same);
    if (code && code != ML_CORRUPT) return code;
    code = ours ? prepare_all(sql) : ML_CORRUPT;
    if (code == ML_CORRUPT) {
        *same = false;
        sql->commits = 0;
        code = begin_anew(sql, about);
        if (!code) code = prepare_all(sql);
    }
    if (!code) code = set_boot(sql, sql->boot);
    if (!code) code = run(sql, "PRAGMA synchronous = OFF");
    return code;
}

static ml_code keep_about(ml_sql *sql, const char *path, const ml_sql_about *about)
{
    ml_buf table = {0};
    sql->path = strdup(path);
    add_name(&table, about->table);
    ml_buf_byte(&table, '\0');
    sql->table = (char *)table.data;
    ml_buf_add(&sql->projection, about->projection.data, about->projection.size);
    ml_buf_add(&sql->hash, about->hash.data, about->hash.size);
    for (size_t n = 0; n < about->column_count; n++)
        ml_buf_add(&sql->paths, about->columns[n].path.data, about->columns[n].path.size);
    if (sql->path == NULL || table.failed || sql->projection.failed || sql->hash.failed ||
        sql->paths.failed)
        return refuse_memory(sql);
    size_t at = 0;
    for (size_t n = 0; n < about->column_count; n++) {
        size_t size = about->columns[n].path.size;
        sql->columns[n] =
            (ml_sql_column){.path = {sql->paths.data + at, size}, .type = about->columns[n].type};
        at += size;
    }
    sql->count = about->column_count;
    sql->windowed = about->windowed;
    snprintf(sql->boot, sizeof sql->boot, "%s", about->boot);
    return ML_OK;
}

static void free_sql(ml_sql *sql)
{
    disconnect(sql);
    ml_buf_free(&sql->paths);
    ml_buf_free(&sql->projection);
    ml_buf_free(&sql->hash);
    ml_buf_free(&sql->value);
    free(sql->path);
    free(sql->table);
    free(sql);
}

ml_code ml_sql_open(const char *path, const ml_sql_about *about, ml_view *view, ml_sql **sql,
                    ml_error *why)
{
    ml_view_stats stats;
    bool same = false;
    *sql = NULL;
    ml_code code = check_names(about, why);
    if (code) return code;
    ml_sql *made = calloc(1, sizeof *made);
    if (made == NULL) return ml_error_memory(why, "a table of rows");
    made->why = why;
    ml_view_get_stats(view, &stats);
    code = keep_about(made, path, about);
    if (!code) code = begin(made, about, &stats, &same);
    if (!code && same) made->commits = stats.commits;
    if (!code && !same) code = follow(made, view, &stats);
    if (code)
        free_sql(made);
    else
        *sql = made;
    return code;
}

/* Synced, and only then nothing is said of a boot any more. A failure shows in that it is filled
 * anew after the next start of the machine. */
void ml_sql_close(ml_sql *sql)
{
    if (sql == NULL) return;
    sql->why = NULL;
    if (run(sql, "PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(TRUNCATE)") == ML_OK)
        ML_IGNORE(set_boot(sql, NULL));
    free_sql(sql);
}
