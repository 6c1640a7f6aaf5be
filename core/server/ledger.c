/* ledger.c -- what is done to projections by hand, as events in the stream `$projections`; and
 * time, as Tick events in `$clock`.
 *
 *     ProjectionPaused, ProjectionResumed, ProjectionRetried   {name}
 *     ProjectionSkipped      {name, hash, position, reason}    for this version, for ever
 *     ProjectionRebuilt      {name, hash, folder}
 *     ProjectionRolledBack   {name, hash}                      this version is not to be live
 *
 * and `actor`, if it was said. It holds when it is on the disk, and after a restart.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "projections.h"

enum { SKIPS_MAX = 100000 }; /* of one projection: each is somebody's decision */

static const char *const types[] = {"ProjectionPaused",  "ProjectionResumed",
                                    "ProjectionSkipped", "ProjectionRetried",
                                    "ProjectionRebuilt", "ProjectionRolledBack"};

/* What an event says; texts are borrowed. */
typedef struct deed {
    ml_deed kind;
    uint64_t at; /* position of the event */
    uint64_t position;
    ml_bytes hash, folder;
} deed;

/* ---- what holds then -------------------------------------------------------------- */

static void copy(char *to, size_t room, ml_bytes text)
{
    snprintf(to, room, "%.*s", ML_SHOW(text));
}

/* Anybody may write events: "1f0c….2" is one, and nothing that leads elsewhere. */
static bool is_folder(ml_bytes text)
{
    const char *from = text.data;
    bool good = text.size > 0 && text.size < ML_PROJECTIONS_FOLDER && from[0] != '.';
    for (size_t n = 0; good && n < text.size; n++)
        good = strchr("0123456789abcdef.", from[n]) != NULL && from[n] != '\0';
    return good;
}

static bool add_skip(ml_projected *p, const deed *d)
{
    if (p->skip_count >= SKIPS_MAX) return false;
    ml_skip *more = realloc(p->skips, (p->skip_count + 1) * sizeof *more);
    if (more == NULL) return false;
    p->skips = more;
    size_t at = p->skip_count++;
    for (; at > 0 && more[at - 1].position > d->position; at--)
        more[at] = more[at - 1];
    more[at].position = d->position;
    copy(more[at].hash, sizeof more[at].hash, d->hash);
    return true;
}

static void note(ml_projected *p, const deed *d)
{
    switch (d->kind) {
    case ML_DEED_PAUSED: p->paused = true; break;
    case ML_DEED_RESUMED: p->paused = false; break;
    case ML_DEED_SKIPPED:
        if (!add_skip(p, d))
            ml_say(p->server, "error",
                   "%s does not skip position %" PRIu64 ": it skips %d already, or memory is short",
                   p->name, d->position, (int)p->skip_count);
        break;
    case ML_DEED_RETRIED: break;
    case ML_DEED_REBUILT:
        if (is_folder(d->folder)) copy(p->rebuilt, sizeof p->rebuilt, d->folder);
        p->refused[0] = '\0'; /* now it is wanted */
        break;
    case ML_DEED_ROLLED_BACK:
        copy(p->refused, sizeof p->refused, d->hash);
        p->refused_at = d->at;
        p->rebuilt[0] = '\0';
        break;
    }
}

void ml_ledger_pack_skips(const ml_projected *p, const char *hash, ml_buf *out)
{
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
    for (size_t n = 0; n < p->skip_count; n++) {
        if (strcmp(p->skips[n].hash, hash) != 0) continue;
        ml_pack_int(out, (int64_t)p->skips[n].position);
        count++;
    }
    ml_pack_end_array(out, begin, count);
}

/* ---- reading ---------------------------------------------------------------------- */

static void read_event(ml_server *server, const ml_event *event)
{
    deed d = {.at = event->position,
              .hash = ml_unpack_find_str(event->data, "hash"),
              .folder = ml_unpack_find_str(event->data, "folder")};
    ml_bytes name = ml_unpack_find_str(event->data, "name");
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(event->data, "position"));
    int64_t position = 0;
    ML_IGNORE(!ml_unpack_int(&cursor, &position));
    d.position = (uint64_t)position;
    for (size_t n = 0; n < sizeof types / sizeof *types; n++) {
        if (!ml_params_is(types[n], event->type) || name.size == 0) continue;
        d.kind = (ml_deed)n;
        if (d.kind == ML_DEED_SKIPPED && position < 1) continue; /* there is no such event */
        ml_projected *p = ml_projections_find(server, name);
        if (p != NULL) note(p, &d);
    }
}

ml_code ml_ledger_read(ml_server *server, ml_error *why)
{
    ml_selection selection = {.stream = ML_PROJECTIONS_STREAM};
    ml_cursor *cursor;
    ml_event event;
    ml_code code = ml_read(server->store, &selection, &cursor);
    while (!code && (code = ml_next(cursor, &event)) == ML_OK)
        read_event(server, &event);
    ml_cursor_free(cursor);
    if (code == ML_END || code == ML_NOT_FOUND) return ML_OK;
    return ml_error_retell(why, code, ml_why(server->store));
}

/* ---- writing ---------------------------------------------------------------------- */

typedef struct entry {
    ml_later later;
    ml_projected *p;
    deed deed;
    bool done; /* by its process already */
    char hash[ML_RULES_HASH + 1], folder[ML_PROJECTIONS_FOLDER];
} entry;

static void carry_on(ml_generation *g, const entry *e)
{
    if (e->deed.kind == ML_DEED_RETRIED)
        ml_generations_retry(g);
    else if (e->deed.kind != ML_DEED_SKIPPED)
        ml_generations_pause(g);
    else if (strcmp(g->hash, e->hash) == 0)
        ml_generations_skip(g, e->deed.position);
}

static ml_code roll_back(entry *e, ml_error *why)
{
    ml_projected *p = e->p;
    const ml_generation *from = p->building != NULL ? p->building : p->live;
    if (p->rolling)
        return ml_error_set(why, ML_LIMIT, "%s is being rolled back already", p->name);
    if (from == NULL || strcmp(from->hash, e->hash) != 0)
        return ml_error_set(why, ML_NOT_FOUND, "the rules have changed meanwhile; try again");
    p->rollback = e->later; /* answered when it is done */
    p->rolling = true;
    e->later = (ml_later){0};
    ml_code code = ml_swaps_roll_back(p, why);
    if (code) ml_swaps_abandon(p, code, why->sentence);
    return code;
}

/* It is on the disk, so it holds after a restart: then it holds now, whatever has come between. */
static ml_code carry_out(entry *e, ml_error *why)
{
    ml_projected *p = e->p;
    ml_generation *all[] = {p->live, p->building, p->before};
    note(p, &e->deed);
    if (!p->defined)
        return ml_error_set(why, ML_NOT_FOUND, "the rules do not define %s any more", p->name);
    if (e->deed.kind == ML_DEED_ROLLED_BACK) return roll_back(e, why);
    if (e->deed.kind == ML_DEED_REBUILT) {
        ml_swaps_abandon(p, ML_NOT_FOUND, "it was asked meanwhile to build this version once more");
        return ml_projections_rebuild(p, why);
    }
    for (size_t n = 0; n < 3; n++)
        if (all[n] != NULL) carry_on(all[n], e);
    return ML_OK;
}

/* It has passed over an event that is not said to be skipped: its rows are not to be believed. */
static void spoil(ml_projected *p, const char *hash)
{
    ml_generation *all[] = {p->live, p->building, p->before};
    for (size_t n = 0; n < 3; n++)
        if (all[n] != NULL && strcmp(all[n]->hash, hash) == 0) ml_generations_spoil(all[n]);
}

static void answer(entry *e, ml_code code, const char *sentence)
{
    if (code) {
        ml_later_refuse(&e->later, code, sentence);
    } else {
        ml_buf *out = ml_later_answer(&e->later);
        if (out != NULL) ml_listings_pack(e->p, out);
    }
    ml_later_end(&e->later);
}

static void written(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    entry *e = context;
    ml_error error;
    e->p->writing--;
    if (code) {
        ml_error_retell(&error, code, why);
        if (e->done) spoil(e->p, e->hash);
    } else {
        e->deed.at = receipt->last;
        e->deed.hash = (ml_bytes){e->hash, strlen(e->hash)};
        e->deed.folder = (ml_bytes){e->folder, strlen(e->folder)};
        code = carry_out(e, &error);
    }
    if (e->later.conn != NULL) answer(e, code, code ? error.sentence : "");
    free(e);
}

static void pack_data(ml_buf *out, const ml_projected *p, const ml_ledger_entry *from)
{
    size_t begin = ml_pack_begin(out);
    uint32_t count = 1;
    ml_packs_pack(out, "name", (ml_bytes){p->name, strlen(p->name)});
    if (from->hash != NULL) {
        ml_packs_pack(out, "hash", (ml_bytes){from->hash, strlen(from->hash)});
        count++;
    }
    if (from->folder != NULL) {
        ml_packs_pack(out, "folder", (ml_bytes){from->folder, strlen(from->folder)});
        count++;
    }
    if (from->deed == ML_DEED_SKIPPED) {
        ml_pack_text(out, "position");
        ml_pack_int(out, (int64_t)from->position);
        count++;
    }
    if (from->reason.size > 0) ml_packs_pack(out, "reason", from->reason), count++;
    if (from->actor.size > 0) ml_packs_pack(out, "actor", from->actor), count++;
    ml_pack_end_map(out, begin, count);
}

static ml_code submit(ml_server *server, ml_bytes stream, const char *type, ml_bytes data,
                      ml_settled *settled, void *context, ml_error *why)
{
    ml_draft draft = {.type = {type, strlen(type)}, .data = data};
    ml_write write = {.stream = stream, .expected = ML_ANY, .events = &draft, .count = 1};
    ml_code code =
        ml_submit(server->store, &(ml_proposal){.writes = &write, .count = 1}, settled, context);
    if (code == ML_LIMIT)
        return ml_error_set(why, ML_LIMIT, "too much is being written just now; try again");
    return code ? ml_error_retell(why, code, ml_why(server->store)) : ML_OK;
}

ml_code ml_ledger_write(ml_projected *p, const ml_ledger_entry *from, ml_later later, ml_error *why)
{
    ml_buf data = {0};
    entry *e = calloc(1, sizeof *e);
    pack_data(&data, p, from);
    ml_code code = e == NULL || data.failed ? ml_error_memory(why, "an event") : ML_OK;
    if (!code) {
        e->p = p;
        e->later = later;
        e->done = from->done;
        e->deed = (deed){.kind = from->deed, .position = from->position};
        snprintf(e->hash, sizeof e->hash, "%s", from->hash != NULL ? from->hash : "");
        snprintf(e->folder, sizeof e->folder, "%s", from->folder != NULL ? from->folder : "");
        code = submit(p->server, ML_PROJECTIONS_STREAM, types[from->deed], ml_buf_view(&data),
                      written, e, why);
    }
    ml_buf_free(&data);
    if (code) free(e);
    else p->writing++;
    if (code && from->done) spoil(p, from->hash);
    return code;
}

/* ---- time ------------------------------------------------------------------------- */

static void ticked(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    ml_server *server = context;
    (void)receipt;
    if (code)
        ml_say(server, "warning", "that time has passed cannot be written into the log: %s", why);
}

/* At most one is under way: the log is looked at before each. */
void ml_ledger_tick(ml_server *server)
{
    ml_error why;
    if (submit(server, ML_PROJECTIONS_CLOCK, "Tick", (ml_bytes){0}, ticked, server, &why))
        ml_say(server, "warning", "that time has passed cannot be written into the log: %s",
               why.sentence);
    server->more = true; /* this turn may be past it */
}
