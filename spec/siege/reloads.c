/* reloads.c -- rules are loaded again and again under clients that append and clients that ask.
 *
 * Versions that multiply by another factor, which a row tells; the same with other comments; bad
 * ones, that are no Lua or raise at an event of history; and projections are rolled back. Nobody
 * who reads is to notice, but by the factor. In the end all have one more, and the rows must be
 * right.
 */
#include <inttypes.h>
#include <stdio.h>

#include "views.h"

enum {
    RATE = 1000,  /* events a second, of each feeder */
    SLIP = 30000, /* µs at most until something else is loaded, where nothing is waited for */
    LOOK_US = 5000,
    HASH = 64
};

typedef struct trial {
    ml_siege *siege;
    ml_crowd *crowd;
    ml_views_rules rules;        /* the last good ones */
    char hashes[ML_VIEWS][HASH]; /* of what is active */
    uint64_t loads, good, comments, syntax, replayed, raises, refused, rollbacks, none_before,
        awaited;
    uint64_t rollback_us, rollback_most_us;
} trial;

static uint32_t below(trial *t, uint32_t sides)
{
    return ml_dice_below(&t->siege->dice, sides);
}

static bool one_in(trial *t, uint32_t sides)
{
    return ml_dice_one_in(&t->siege->dice, sides);
}

/* ---- loading ------------------------------------------------------------------------------ */

static ml_bytes text_of(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_bytes text = {0};
    ML_IGNORE(cursor.at == NULL || !ml_unpack_str(&cursor, &text));
    return text;
}

static bool is_active(const ml_message *message)
{
    ml_bytes active = ml_unpack_find(message->body, "active");
    return active.size == 1 && *(const uint8_t *)active.data == 0xc3;
}

static void note_hashes(const ml_message *message, char hashes[ML_VIEWS][HASH])
{
    uint32_t count;
    ml_unpack units = ml_client_list(message->body, "units", &count);
    for (; count > 0; count--) {
        ml_bytes one = {units.at, (size_t)(units.end - units.at)}, unit = text_of(one, "unit"),
                 hash = text_of(one, "hash");
        for (size_t n = 0; n < ML_VIEWS; n++) {
            char name[32];
            snprintf(name, sizeof name, "projection/%s", ml_views_names[n]);
            if (ml_bytes_equal(unit, (ml_bytes){name, strlen(name)}))
                snprintf(hashes[n], HASH, "%.*s", ML_SHOW(hash));
        }
        if (!ml_unpack_skip(&units)) return;
    }
}

/* Of rules that are good, as far as loading knows. */
static bool load(trial *t, const ml_views_rules *rules)
{
    ml_message message;
    t->loads++;
    if (!ml_crowd_load(t->crowd, rules, &message)) return false;
    if (!is_active(&message))
        return ml_siege_wrong(t->siege, "load %" PRIu64 ": good rules do not become active",
                              t->loads);
    note_hashes(&message, t->hashes);
    return true;
}

/* Until that version is asked, and none builds beside it. */
static bool await(trial *t, ml_views_name name)
{
    ml_shown shown[ML_VIEWS];
    ml_message message;
    uint64_t until = ml_siege_now() + (uint64_t)ML_VIEWS_WAIT_MS * 1000;
    while (ml_siege_now() < until) {
        if (!ml_crowd_list(t->crowd, shown, &message)) return false;
        const ml_shown *one = &shown[name];
        if (one->live && !one->next && strcmp(one->hash, t->hashes[name]) == 0) return true;
        if (!ml_crowd_go_on(t->crowd, LOOK_US)) return false;
    }
    return ml_siege_wrong(t->siege, "%s: version %s does not become live", ml_views_names[name],
                          t->hashes[name]);
}

static bool load_good(trial *t)
{
    ml_views_name name = below(t, ML_VIEWS);
    char before[HASH];
    snprintf(before, sizeof before, "%s", t->hashes[name]);
    t->rules.factor[name]++;
    t->good++;
    if (!load(t, &t->rules)) return false;
    if (strcmp(before, t->hashes[name]) == 0)
        return ml_siege_wrong(t->siege, "%s is another version, and has the same hash",
                              ml_views_names[name]);
    if (one_in(t, 3)) return true;
    t->awaited++;
    return await(t, name);
}

/* Another version by its text, and the same by what it does: there is nothing to replay. */
static bool load_comments(trial *t)
{
    ml_views_name name = below(t, ML_VIEWS);
    ml_shown shown[ML_VIEWS];
    ml_message message;
    t->rules.comment++;
    t->comments++;
    if (!load(t, &t->rules) || !await(t, name)) return false;
    if (!ml_crowd_list(t->crowd, shown, &message)) return false;
    t->replayed += !shown[name].incremental;
    return true;
}

static bool load_syntax(trial *t)
{
    ml_views_rules bad = t->rules;
    ml_message message;
    uint32_t count;
    bad.flaw = ML_VIEWS_SYNTAX;
    bad.flawed = below(t, ML_VIEWS);
    bad.factor[bad.flawed]++;
    t->loads++;
    t->syntax++;
    if (!ml_crowd_load(t->crowd, &bad, &message)) return false;
    ml_client_list(message.body, "diagnostics", &count);
    return (!is_active(&message) && count > 0) ||
           ml_siege_wrong(t->siege, "what is no Lua becomes active");
}

static bool roll_back(trial *t, ml_views_name name, bool must)
{
    ml_message message;
    uint64_t began = ml_siege_now();
    ml_buf *out = ml_client_begin(&t->crowd->watch, "projection.rollback");
    ml_pack_map(out, 1);
    ml_pack_text(out, "name");
    ml_pack_text(out, ml_views_names[name]);
    if (!ml_crowd_ask(t->crowd, &message)) return false;
    if (message.code == ML_NOT_FOUND && !must) {
        t->none_before++;
        return true;
    }
    if (message.code)
        return ml_siege_wrong(t->siege, "projection.rollback: %.*s", ML_SHOW(message.text));
    uint64_t us = ml_siege_now() - began;
    t->rollbacks++;
    t->rollback_us += us;
    if (us > t->rollback_most_us) t->rollback_most_us = us;
    return true;
}

/* It stops while it builds, or is not even active; and goes by a rollback, or by good rules. */
static bool load_raises(trial *t)
{
    ml_views_rules bad = t->rules;
    ml_message message;
    bad.flaw = ML_VIEWS_RAISES;
    bad.flawed = below(t, ML_VIEWS);
    bad.factor[bad.flawed]++;
    bad.raises_at = 1 + below(t, (uint32_t)t->crowd->tally->synced);
    t->loads++;
    t->raises++;
    if (!ml_crowd_load(t->crowd, &bad, &message)) return false;
    bool active = is_active(&message);
    if (active) note_hashes(&message, t->hashes);
    t->refused += !active;
    if (!ml_crowd_go_on(t->crowd, below(t, 10 * SLIP))) return false;
    if (active && one_in(t, 2)) return roll_back(t, bad.flawed, false);
    return load(t, &t->rules);
}

/* ---- all of it ---------------------------------------------------------------------------- */

static bool step(trial *t)
{
    switch (below(t, 8)) {
    case 0: return load_comments(t);
    case 1: return load_syntax(t);
    case 2: return load_raises(t);
    case 3: return roll_back(t, below(t, ML_VIEWS), false);
    default: return load_good(t);
    }
}

static bool begin(trial *t)
{
    ml_daemon *daemon = &t->siege->daemon;
    daemon->args[0] = "--workers";
    daemon->args[1] = "1";
    if (!ml_daemon_start(daemon)) return ml_siege_daemon_wrong(t->siege);
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        t->crowd->feeders[n].depth = 4, t->crowd->feeders[n].rate = RATE;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        t->crowd->viewers[n].depth = 1 + below(t, 8);
    return ml_crowd_connect(t->crowd) && load(t, &t->rules) && ml_crowd_go_on(t->crowd, 500000);
}

static bool besiege(trial *t)
{
    if (!begin(t)) return false;
    while (t->loads < t->siege->reloads)
        if (!step(t) || !ml_crowd_go_on(t->crowd, below(t, SLIP))) return false;
    for (size_t n = 0; n < ML_VIEWS; n++)
        t->rules.factor[n]++;
    if (!load(t, &t->rules)) return false;
    for (ml_views_name name = 0; name < ML_VIEWS; name++)
        if (!await(t, name)) return false;
    return ml_crowd_audit(t->crowd, &t->rules);
}

static void print_figures(const trial *t)
{
    uint64_t answers = 0, waited = 0;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++) {
        answers += t->crowd->viewers[n].answers;
        waited += t->crowd->viewers[n].waited;
    }
    printf("reloads: %s loads (%s with another handler, %s of them waited for; %s with other "
           "comments, %s of them built from nothing; %s that are no Lua, %s that raise at an event "
           "of history, %s of these "
           "refused), %s rollbacks of a projection (%" PRIu64 " us on average, %" PRIu64
           " at most; %s times nothing was before); %s events; %s rows read (%s of them after a "
           "position), %s of them held against the log; 0 failed reads, 0 steps back, 0 rows gone, "
           "0 rows other than the log's, by key and by index; digests as built from nothing; "
           "verify finds 0 problems; seed %" PRIu64 "\n",
           ml_siege_number(t->loads), ml_siege_number(t->good), ml_siege_number(t->awaited),
           ml_siege_number(t->comments), ml_siege_number(t->replayed), ml_siege_number(t->syntax),
           ml_siege_number(t->raises), ml_siege_number(t->refused), ml_siege_number(t->rollbacks),
           t->rollbacks > 0 ? t->rollback_us / t->rollbacks : 0, t->rollback_most_us,
           ml_siege_number(t->none_before), ml_siege_number(t->crowd->tally->events),
           ml_siege_number(answers), ml_siege_number(waited),
           ml_siege_number(t->crowd->tally->sighted), t->siege->seed);
}

bool ml_reloads_run(ml_siege *siege)
{
    trial t = {.siege = siege, .crowd = ml_crowd_new(siege)};
    for (size_t n = 0; n < ML_VIEWS; n++)
        t.rules.factor[n] = 1;
    bool good = besiege(&t);
    if (good)
        print_figures(&t);
    else
        printf("reloads: after %" PRIu64 " loads\n", t.loads);
    ml_crowd_free(t.crowd);
    return good;
}
