/* full.c -- a full disk, and space again.
 *
 * On a small tmpfs, in a mount namespace of its own. Four clients append until NO_SPACE; then
 * reads, subscriptions and status go on, appends are refused and leave nothing behind, and the
 * daemon can be killed and started. When space comes back appends go on by themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "model.h"

enum {
    WRITERS = 4,
    DISK_MIB = 48,
    PIECE = 4096,
    BACK = 4 << 20, /* bytes that come back at once */
    REFUSALS = 200  /* appends that a full disk is asked for in vain */
};

typedef struct trial {
    ml_siege *siege;
    ml_model *model;
    ml_walk *walk;
    ml_writer writers[WRITERS];
    ml_client reader; /* subscribed to everything */
    uint64_t delivered;
    char ballast[ML_DAEMON_PATH];
    uint64_t refusals, restarts;
} trial;

/* ---- the disk --------------------------------------------------------------------------- */

static bool write_text(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool good = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0) close(file);
    return good;
}

/* As root simply; else as root of a user namespace, where that is allowed. */
static bool separate(void)
{
    char map[64];
    unsigned user = (unsigned)getuid(), group = (unsigned)getgid();
    if (user == 0 && unshare(CLONE_NEWNS) == 0) return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    snprintf(map, sizeof map, "0 %u 1", user);
    if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", map))
        return false;
    snprintf(map, sizeof map, "0 %u 1", group);
    return write_text("/proc/self/gid_map", map);
}

static bool mount_disk(const char *root)
{
    char size[32];
    snprintf(size, sizeof size, "size=%dm", DISK_MIB);
    return separate() && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", root, "tmpfs", 0, size) == 0;
}

/* Fills what is left; the daemon may have had something aside that it still can use. */
static bool take_space(trial *t)
{
    static const char piece[PIECE];
    int file = open(t->ballast, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return ml_siege_wrong(t->siege, "%s: %s", t->ballast, strerror(errno));
    while (write(file, piece, PIECE) == PIECE)
        continue;
    bool full = errno == ENOSPC;
    close(file);
    return full || ml_siege_wrong(t->siege, "filling the disk: %s", strerror(errno));
}

static bool give_space(trial *t)
{
    off_t size = 0;
    int file = open(t->ballast, O_WRONLY | O_CLOEXEC);
    if (file >= 0) size = lseek(file, 0, SEEK_END);
    bool good = file >= 0 && size >= BACK && ftruncate(file, size - BACK) == 0;
    if (file >= 0) close(file);
    return good ||
           ml_siege_wrong(t->siege, "the disk is full of events, and not of ballast; fewer rounds");
}

/* ---- the subscriber ----------------------------------------------------------------------- */

static bool subscribe(trial *t)
{
    ml_message message;
    if (!ml_siege_connect(t->siege, &t->reader, true)) return false;
    ml_buf *out = ml_client_begin(&t->reader, "subscribe");
    ml_pack_map(out, 1);
    ml_pack_text(out, "after");
    ml_pack_int(out, (int64_t)t->delivered);
    return ml_siege_ask(t->siege, &t->reader, &message);
}

static bool take_pushes(trial *t)
{
    ml_message message;
    ml_event event;
    uint32_t count;
    while (ml_client_peek(&t->reader, &message)) {
        ml_unpack events = ml_client_list(message.body, "events", &count);
        while (count-- > 0) {
            if (!ml_client_event(&events, &event))
                return ml_siege_wrong(t->siege, "what is pushed is no event");
            if (event.position != ++t->delivered)
                return ml_siege_wrong(t->siege, "GAP: position %" PRIu64 " is pushed, not %" PRIu64,
                                      event.position, t->delivered);
        }
        ml_client_drop(&t->reader, &message);
    }
    return true;
}

/* Every acknowledged event reaches it, whatever the disk. */
static bool follow(trial *t)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    while (t->delivered < t->model->known) {
        if (ml_siege_now() > until)
            return ml_siege_wrong(t->siege,
                                  "the subscription stands at %" PRIu64 ", the log at %" PRIu64,
                                  t->delivered, t->model->known);
        if (!ml_client_wait(&t->reader, 1000)) ML_IGNORE(!ml_client_fill(&t->reader));
        if (!take_pushes(t)) return false;
    }
    return true;
}

/* ---- appending ------------------------------------------------------------------------------ */

static bool turn(trial *t)
{
    if (!ml_writer_turn(t->writers, WRITERS, ml_siege_now() + 10000)) return false;
    for (size_t n = 0; n < WRITERS; n++)
        if (t->writers[n].client.file < 0)
            return ml_siege_wrong(t->siege, "a writer's connection is lost");
    return true;
}

/* Until so many more were refused, or acknowledged. */
static bool append_until(trial *t, uint64_t refused, uint64_t acknowledged)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    refused += t->model->refused;
    acknowledged += t->model->acknowledged;
    while (t->model->refused < refused && t->model->acknowledged < acknowledged) {
        if (ml_siege_now() > until)
            return ml_siege_wrong(t->siege,
                                  "appends are neither refused nor acknowledged as they should");
        if (!turn(t)) return false;
    }
    return true;
}

static bool rest(trial *t)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    for (size_t n = 0; n < WRITERS; n++)
        t->writers[n].depth = 0;
    for (size_t n = 0; n < WRITERS;) {
        if (t->writers[n].count == 0)
            n++;
        else if (!turn(t))
            return false;
        if (ml_siege_now() > until) return ml_siege_wrong(t->siege, "appends are not answered");
    }
    for (size_t n = 0; n < WRITERS; n++)
        t->writers[n].depth = 16;
    return true;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static bool check(trial *t)
{
    ml_client client;
    uint64_t position;
    bool good = ml_siege_connect(t->siege, &client, false) && ml_walk_read(t->walk, &client) &&
                ml_siege_status(t->siege, &client, "position", &position);
    if (good && position != t->walk->next - 1)
        good = ml_siege_wrong(t->siege, "status says another position than is read");
    ml_client_close(&client, false);
    return good;
}

static bool restart(trial *t)
{
    t->restarts++;
    if (ml_dice_one_in(&t->siege->dice, 2))
        ml_daemon_kill(&t->siege->daemon);
    else if (!ml_daemon_stop(&t->siege->daemon))
        return ml_siege_daemon_wrong(t->siege);
    for (size_t n = 0; n < WRITERS; n++)
        ml_writer_close(&t->writers[n]);
    ml_client_close(&t->reader, false);
    if (!ml_daemon_start(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    for (unsigned n = 0; n < WRITERS; n++)
        if (!ml_writer_connect(&t->writers[n], n % 2 == 1)) return false;
    return subscribe(t);
}

/* Refused appends are by the disk alone: the model's are of the plain kind. */
static bool one_round(trial *t, bool restarts)
{
    if (!take_space(t)) return false;
    while (t->model->refused == t->refusals) /* what is prepared is used up first */
        if (!turn(t)) return false;
    if (!take_space(t) || !append_until(t, REFUSALS, UINT64_MAX / 2) || !rest(t) || !follow(t) ||
        !check(t))
        return false;
    if (restarts &&
        (!restart(t) || !append_until(t, REFUSALS, UINT64_MAX / 2) || !rest(t) || !check(t)))
        return false;
    t->refusals = t->model->refused;
    if (!give_space(t) || !append_until(t, UINT64_MAX / 2, 50) || !rest(t) || !follow(t) ||
        !check(t))
        return false;
    t->refusals = t->model->refused;
    return true;
}

static bool besiege(trial *t)
{
    ml_siege *siege = t->siege;
    if (!ml_daemon_start(&siege->daemon)) return ml_siege_daemon_wrong(siege);
    for (unsigned n = 0; n < WRITERS; n++)
        if (!ml_writer_connect(&t->writers[n], n % 2 == 1)) return false;
    if (!subscribe(t) || !append_until(t, UINT64_MAX / 2, 100)) return false;
    for (uint64_t n = 0; n < siege->rounds; n++)
        if (!one_round(t, n % 2 == 0)) return false;
    if (!ml_daemon_stop(&siege->daemon)) return ml_siege_daemon_wrong(siege);
    if (!ml_siege_verify(siege)) return false;
    printf("full: the disk full %s times, %s appends refused with NO_SPACE and %s acknowledged, %s "
           "events; reads, "
           "subscriptions, status and %s restarts on the full disk, appends resumed by themselves "
           "each time; 0 lost, 0 "
           "refused ones found, verify finds 0 problems; seed %" PRIu64 "\n",
           ml_siege_number(siege->rounds), ml_siege_number(t->model->refused),
           ml_siege_number(t->model->acknowledged), ml_siege_number(t->walk->next - 1),
           ml_siege_number(t->restarts), siege->seed);
    return true;
}

bool ml_full_run(ml_siege *siege)
{
    if (!mount_disk(siege->root)) {
        printf("full: SKIPPED, a tmpfs cannot be mounted: %s; run it as root, or allow user "
               "namespaces\n",
               strerror(errno));
        return true;
    }
    trial t = {.siege = siege, .model = ml_model_new(siege), .reader.file = -1};
    t.model->plain = t.model->full = true;
    t.model->large = 16 << 10;
    t.walk = ml_walk_new(t.model);
    snprintf(t.ballast, sizeof t.ballast, "%s/ballast", siege->root);
    for (unsigned n = 0; n < WRITERS; n++)
        t.writers[n] = (ml_writer){.client.file = -1, .model = t.model, .depth = 16};
    bool good = besiege(&t);
    ml_daemon_kill(&siege->daemon);
    for (size_t n = 0; n < WRITERS; n++)
        ml_writer_free(&t.writers[n]);
    ml_client_close(&t.reader, false);
    ml_walk_free(t.walk);
    ml_model_free(t.model);
    if (umount2(siege->root, MNT_DETACH) != 0 && good)
        good = ml_siege_wrong(siege, "umount: %s", strerror(errno));
    return good;
}
