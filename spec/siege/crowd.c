/* crowd.c -- feeders and viewers as one, and what they wait for. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "views.h"

enum { LOOK_US = 20000, FILL_DEPTH = 8, FILL_BATCH = 400 };

ml_crowd *ml_crowd_new(ml_siege *siege)
{
    ml_crowd *crowd = ml_siege_grow(NULL, sizeof *crowd);
    *crowd = (ml_crowd){.siege = siege, .tally = ml_tally_new(siege), .watch.file = -1};
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        crowd->feeders[n] = (ml_feeder){.client.file = -1, .tally = crowd->tally};
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        crowd->viewers[n] = (ml_viewer){.client.file = -1, .tally = crowd->tally};
    return crowd;
}

void ml_crowd_free(ml_crowd *crowd)
{
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        ml_client_close(&crowd->feeders[n].client, false);
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        ml_client_close(&crowd->viewers[n].client, false);
    ml_client_close(&crowd->watch, false);
    ml_tally_free(crowd->tally);
    free(crowd);
}

bool ml_crowd_connect(ml_crowd *crowd)
{
    crowd->tally->floor = crowd->tally->synced;
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++) {
        crowd->feeders[n].count = 0;
        if (!ml_siege_connect(crowd->siege, &crowd->feeders[n].client, n % 2 == 1)) return false;
    }
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++) {
        ml_viewer_forget(&crowd->viewers[n]);
        if (!ml_siege_connect(crowd->siege, &crowd->viewers[n].client, n % 2 == 1)) return false;
    }
    return ml_siege_connect(crowd->siege, &crowd->watch, false);
}

/* ---- a turn --------------------------------------------------------------------------------- */

/* What came before a connection was lost still counts. */
static bool hear_feeder(ml_feeder *feeder)
{
    bool there = ml_client_fill(&feeder->client);
    if (!ml_feeder_take(feeder)) return false;
    if (!there) ml_client_close(&feeder->client, false);
    if (!there) feeder->count = 0;
    return true;
}

static bool hear_viewer(ml_viewer *viewer)
{
    bool there = ml_client_fill(&viewer->client);
    if (!ml_viewer_take(viewer)) return false;
    if (!there) ml_client_close(&viewer->client, false);
    if (!there) viewer->count = 0;
    return true;
}

bool ml_crowd_hear(ml_crowd *crowd)
{
    ml_client_close(&crowd->watch, false);
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        while (crowd->feeders[n].client.file >= 0)
            if (!hear_feeder(&crowd->feeders[n])) return false;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        while (crowd->viewers[n].client.file >= 0)
            if (!hear_viewer(&crowd->viewers[n])) return false;
    return true;
}

static struct pollfd wait_for(const ml_client *client)
{
    bool all = client->out.size == 0;
    return (struct pollfd){.fd = client->file, .events = (short)(all ? POLLIN : POLLIN | POLLOUT)};
}

/* Begins what may be begun, and sends. A broken pipe is met again when reading, behind the answers
 * that are still there. */
static uint64_t send_all(ml_crowd *crowd, uint64_t until)
{
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++) {
        ml_feeder *feeder = &crowd->feeders[n];
        if (feeder->client.file < 0) continue;
        ML_IGNORE(crowd->quiet ? !ml_client_flush(&feeder->client) : !ml_feeder_fill(feeder));
        bool waits = !crowd->quiet && feeder->rate > 0 && feeder->count < feeder->depth;
        if (waits && feeder->due < until) until = feeder->due;
    }
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++) {
        ml_viewer *viewer = &crowd->viewers[n];
        if (viewer->client.file < 0) continue;
        ML_IGNORE(crowd->quiet ? !ml_client_flush(&viewer->client) : !ml_viewer_fill(viewer));
        bool waits = !crowd->quiet && viewer->rate > 0 && viewer->count < viewer->depth;
        if (waits && viewer->due < until) until = viewer->due;
    }
    return until;
}

static bool hear_all(ml_crowd *crowd, const struct pollfd *on)
{
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++, on++)
        if ((on->revents & ~POLLOUT) != 0 && !hear_feeder(&crowd->feeders[n])) return false;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++, on++)
        if ((on->revents & ~POLLOUT) != 0 && !hear_viewer(&crowd->viewers[n])) return false;
    return (on->revents & ~POLLOUT) == 0 || ml_client_fill(&crowd->watch) ||
           ml_siege_wrong(crowd->siege, "the connection is lost, and nothing was killed");
}

bool ml_crowd_turn(ml_crowd *crowd, uint64_t until)
{
    enum { ALL = ML_CROWD_FEEDERS + ML_CROWD_VIEWERS + 1 };
    struct pollfd on[ALL];
    until = send_all(crowd, until);
    if (crowd->watch.file >= 0) ML_IGNORE(!ml_client_flush(&crowd->watch));
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        on[n] = wait_for(&crowd->feeders[n].client);
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        on[ML_CROWD_FEEDERS + n] = wait_for(&crowd->viewers[n].client);
    on[ALL - 1] = wait_for(&crowd->watch);
    uint64_t now = ml_siege_now();
    if (poll(on, ALL, now >= until ? 0 : (int)((until - now + 999) / 1000)) < 0 && errno != EINTR)
        return ml_siege_wrong(crowd->siege, "poll fails");
    return hear_all(crowd, on);
}

bool ml_crowd_go_on(ml_crowd *crowd, uint64_t us)
{
    uint64_t until = ml_siege_now() + us;
    while (ml_siege_now() < until)
        if (!ml_crowd_turn(crowd, until)) return false;
    return true;
}

static size_t under_way(const ml_crowd *crowd)
{
    size_t count = 0;
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        count += crowd->feeders[n].count;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        count += crowd->viewers[n].count;
    return count;
}

bool ml_crowd_settle(ml_crowd *crowd)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    crowd->quiet = true;
    for (size_t left = under_way(crowd); left > 0; left = under_way(crowd)) {
        if (ml_siege_now() >= until)
            return ml_siege_wrong(crowd->siege, "%zu requests are never answered", left);
        if (!ml_crowd_turn(crowd, until)) return false;
    }
    crowd->quiet = false;
    return true;
}

bool ml_crowd_fill(ml_crowd *crowd, uint64_t events)
{
    ml_feeder *feeders = crowd->feeders;
    uint32_t most = crowd->tally->most;
    unsigned depths[ML_CROWD_VIEWERS];
    bool good = true;
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        feeders[n].rate = 0, feeders[n].depth = FILL_DEPTH;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        depths[n] = crowd->viewers[n].depth, crowd->viewers[n].depth = 0;
    crowd->tally->most = FILL_BATCH;
    while (good && crowd->tally->appended < events)
        good = ml_crowd_turn(crowd, ml_siege_now() + LOOK_US);
    crowd->tally->most = most;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++)
        crowd->viewers[n].depth = depths[n];
    return good && ml_crowd_settle(crowd);
}

/* ---- what is asked beside ------------------------------------------------------------------- */

bool ml_crowd_ask(ml_crowd *crowd, ml_message *message)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    while (ml_siege_now() < until) {
        if (!ml_crowd_turn(crowd, until)) return false;
        while (ml_client_peek(&crowd->watch, message)) {
            ml_client_drop(&crowd->watch, message); /* its bytes stay until more comes */
            if (message->answer && message->msgid == crowd->watch.msgid) return true;
        }
    }
    return ml_siege_wrong(crowd->siege, "no answer to request %" PRIu32, crowd->watch.msgid);
}

bool ml_crowd_load(ml_crowd *crowd, const ml_views_rules *rules, ml_message *message)
{
    bool first = crowd->loads++ == 0; /* before it there is nothing that could be asked */
    ml_views_pack_rules(rules, ml_client_begin(&crowd->watch, "rules.load"));
    crowd->quiet = first;
    if (first) crowd->tally->floor = crowd->tally->synced;
    if (!ml_crowd_ask(crowd, message)) return false;
    crowd->quiet = false;
    return message->code == ML_OK ||
           ml_siege_wrong(crowd->siege, "rules.load: %.*s", ML_SHOW(message->text));
}

static bool is_text(ml_bytes map, const char *name, const char *wanted)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_bytes text;
    return cursor.at != NULL && ml_unpack_str(&cursor, &text) &&
           ml_bytes_equal(text, (ml_bytes){wanted, strlen(wanted)});
}

static void show_generations(ml_bytes entry, ml_shown *shown)
{
    uint32_t count;
    ml_unpack all = ml_client_list(entry, "generations", &count);
    for (; count > 0; count--) {
        ml_bytes one = {all.at, (size_t)(all.end - all.at)},
                 made = ml_unpack_find(one, "incremental");
        if (is_text(one, "role", "next")) shown->next = true;
        if (is_text(one, "role", "live"))
            shown->incremental = made.size == 1 && *(const uint8_t *)made.data == 0xc3;
        if (!ml_unpack_skip(&all)) return;
    }
}

static void show(ml_bytes entry, ml_shown *shown)
{
    ml_bytes digest = ml_unpack_find(entry, "digest"), hash = {0};
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(entry, "hash"));
    *shown = (ml_shown){.known = true,
                        .live = is_text(entry, "state", "live"),
                        .position = ml_client_natural(entry, "position"),
                        .left = ml_client_natural(ml_unpack_find(entry, "lag"), "events"),
                        .rows = ml_client_natural(entry, "rows")};
    show_generations(entry, shown);
    if (digest.size <= sizeof shown->digest && digest.size > 1) {
        memcpy(shown->digest, digest.data, digest.size);
        shown->digest_size = digest.size;
    }
    if (is_text(entry, "state", "stopped")) {
        cursor = ml_unpack_from(ml_unpack_find(ml_unpack_find(entry, "error"), "sentence"));
        ml_bytes sentence = ML_STR("no reason is told");
        ML_IGNORE(cursor.at == NULL || !ml_unpack_str(&cursor, &sentence));
        snprintf(shown->stopped, sizeof shown->stopped, "%.*s", ML_SHOW(sentence));
        cursor = ml_unpack_from(ml_unpack_find(entry, "hash"));
    }
    if (cursor.at != NULL && ml_unpack_str(&cursor, &hash))
        snprintf(shown->hash, sizeof shown->hash, "%.*s", ML_SHOW(hash));
}

bool ml_crowd_list(ml_crowd *crowd, ml_shown shown[ML_VIEWS], ml_message *message)
{
    uint32_t count;
    memset(shown, 0, ML_VIEWS * sizeof *shown);
    ml_pack_map(ml_client_begin(&crowd->watch, "projection.list"), 0);
    if (!ml_crowd_ask(crowd, message)) return false;
    if (message->code)
        return ml_siege_wrong(crowd->siege, "projection.list: %.*s", ML_SHOW(message->text));
    ml_unpack all = ml_client_list(message->body, "projections", &count);
    for (; count > 0; count--) {
        ml_bytes entry = {all.at, 0};
        if (!ml_unpack_skip(&all)) return ml_siege_wrong(crowd->siege, "the list is cut short");
        entry.size = (size_t)(all.at - (const uint8_t *)entry.data);
        for (size_t n = 0; n < ML_VIEWS; n++)
            if (is_text(entry, "name", ml_views_names[n])) show(entry, &shown[n]);
    }
    return true;
}

bool ml_crowd_await(ml_crowd *crowd, ml_shown shown[ML_VIEWS])
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_VIEWS_WAIT_MS * 1000;
    const char *missing = "";
    ml_message message;
    while (ml_siege_now() < until) {
        size_t ready = 0;
        if (!ml_crowd_list(crowd, shown, &message)) return false;
        for (size_t n = 0; n < ML_VIEWS; n++) {
            bool is = shown[n].known && shown[n].live && !shown[n].next &&
                      shown[n].digest_size > 0 && shown[n].left == 0 &&
                      shown[n].position >= crowd->tally->highest;
            if (!is) missing = ml_views_names[n];
            if (shown[n].stopped[0] != '\0')
                return ml_siege_wrong(crowd->siege, "%s has stopped: %s", missing,
                                      shown[n].stopped);
            ready += is;
        }
        if (ready == ML_VIEWS) return true;
        if (!ml_crowd_go_on(crowd, LOOK_US)) return false;
    }
    return ml_siege_wrong(crowd->siege, "%s does not become live, or does not catch up", missing);
}

/* ---- in the end ------------------------------------------------------------------------------ */

static bool compare(const ml_crowd *crowd, const ml_shown *before, const ml_shown *after)
{
    for (size_t n = 0; n < ML_VIEWS; n++)
        if (before[n].rows != after[n].rows || before[n].digest_size != after[n].digest_size ||
            memcmp(before[n].digest, after[n].digest, before[n].digest_size) != 0)
            return ml_siege_wrong(crowd->siege,
                                  "%s, built from nothing, has another digest (%" PRIu64
                                  " rows, and %" PRIu64 ")",
                                  ml_views_names[n], before[n].rows, after[n].rows);
    return true;
}

static bool stop(ml_crowd *crowd)
{
    if (!ml_daemon_stop(&crowd->siege->daemon)) return ml_siege_daemon_wrong(crowd->siege);
    return ml_crowd_hear(crowd);
}

/* Nobody appends, and who asks while it builds may have to wait, but is never told what is not all.
 */
static bool build_again(ml_crowd *crowd, ml_shown after[ML_VIEWS])
{
    if (!ml_daemon_start(&crowd->siege->daemon)) return ml_siege_daemon_wrong(crowd->siege);
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        crowd->feeders[n].depth = 0;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++) {
        crowd->viewers[n].depth = 2;
        crowd->viewers[n].lenient = true;
    }
    crowd->quiet = false;
    return ml_crowd_connect(crowd) && ml_crowd_await(crowd, after) && ml_crowd_settle(crowd);
}

bool ml_crowd_audit(ml_crowd *crowd, const ml_views_rules *rules)
{
    ml_shown before[ML_VIEWS], after[ML_VIEWS];
    char path[ML_DAEMON_PATH + 8];
    snprintf(path, sizeof path, "%s/views", crowd->siege->daemon.data);
    if (!ml_crowd_settle(crowd)) return false;
    crowd->quiet = true;
    if (!ml_crowd_await(crowd, before) || !ml_tally_read(crowd->tally, &crowd->watch) ||
        !ml_audit_run(crowd->tally, &crowd->watch, rules) || !stop(crowd))
        return false;
    ml_siege_remove(path);
    if (!build_again(crowd, after) || !compare(crowd, before, after) ||
        !ml_tally_read(crowd->tally, &crowd->watch) ||
        !ml_audit_run(crowd->tally, &crowd->watch, rules))
        return false;
    return stop(crowd) && ml_siege_verify(crowd->siege);
}
