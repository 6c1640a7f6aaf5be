/* verb_import.c -- NDJSON into the store, a batch at a time.
 *
 *     file -> 1 MiB chunks -> lines -> arena: MessagePack of a batch -> one append, synced
 *
 * There are two batches: while the daemon writes one, the next is gathered. A batch is whole or
 * absent. Its drafts are views of its arena, so that never moves while the batch is being
 * gathered: a line that might not fit makes the batch go first.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/text.h"
#include "import.h"
#include "progress.h"
#include "reach.h"
#include "show.h"

enum {
    CHUNK_BYTES = 1 << 20,
    BATCH_EVENTS = 1000,
    ARENA_BYTES = 16 << 20,
    /* Of one append, with some room for what the store puts around it. */
    BATCH_BYTES_MAX = ML_APPEND_BYTES_MAX - (64 << 10)
};

typedef struct lines {
    int file;
    const char *name;
    ml_buf buf;
    size_t at;       /* of the next line in buf */
    size_t searched; /* no newline before here */
    uint64_t number; /* of the last line given */
    uint64_t bytes;  /* read so far */
    bool ended;      /* the file is at its end */
    bool cut;        /* the last line given has no newline */
} lines;

/* Events on their way into one append. */
typedef struct batch {
    ml_buf arena; /* their MessagePack; does not move while the batch is being gathered */
    size_t bytes; /* as the store counts, or a little more */
    size_t count;
    ml_draft drafts[ML_APPEND_EVENTS_MAX];
    ml_import_slot slots[ML_APPEND_EVENTS_MAX];
} batch;

typedef struct import {
    const ml_cli *cli;
    ml_client client;
    lines lines;
    ml_progress progress;
    uint64_t batch_max;
    batch batches[2];
    batch *filling, *flying; /* flying is NULL when no answer is waited for */
    ml_write writes[ML_APPEND_EVENTS_MAX];
    ml_import_seen seen;
    uint64_t events, duplicates, first, last;
    ml_error why;
} import;

/* ---- lines -------------------------------------------------------------------------- */

static ml_code refuse_long(uint64_t number, ml_error *why)
{
    return ml_error_set(why, ML_TOO_LARGE, "line %" PRIu64 ", column 1: it is over %d bytes",
                        number, ML_LINE_BYTES_MAX);
}

/* Reads on behind what is there, after moving it to the front. */
static ml_code read_chunk(lines *l, ml_error *why)
{
    if (l->at > 0) {
        l->buf.size -= l->at;
        memmove(l->buf.data, l->buf.data + l->at, l->buf.size);
        l->searched -= l->at;
        l->at = 0;
    }
    if (l->buf.size > ML_LINE_BYTES_MAX) return refuse_long(l->number + 1, why);
    if (!ml_buf_reserve(&l->buf, CHUNK_BYTES)) return ml_error_memory(why, "a line");
    for (;;) {
        ssize_t size = read(l->file, l->buf.data + l->buf.size, CHUNK_BYTES);
        if (size < 0 && errno == EINTR && !ml_cli_interrupted()) continue;
        if (size < 0 && errno != EINTR) return ml_error_disk(why, -errno, "read", l->name);
        l->ended = size <= 0;
        if (size > 0) {
            l->buf.size += (size_t)size;
            l->bytes += (uint64_t)size;
        }
        return ML_OK;
    }
}

/* The next line without its newline; ML_END behind the last. */
static ml_code next_line(lines *l, ml_bytes *line, ml_error *why)
{
    for (;;) {
        const uint8_t *data = l->buf.data;
        const uint8_t *newline = l->searched < l->buf.size
                                     ? memchr(data + l->searched, '\n', l->buf.size - l->searched)
                                     : NULL;
        bool rest = newline == NULL && l->ended;
        if (rest && l->at == l->buf.size) return ML_END;
        if (newline != NULL || rest) {
            size_t end = rest ? l->buf.size : (size_t)(newline - data);
            *line = (ml_bytes){data + l->at, end - l->at};
            l->at = l->searched = rest ? end : end + 1;
            l->cut = rest;
            l->number++;
            return ML_OK;
        }
        l->searched = l->buf.size;
        ml_code code = read_chunk(l, why);
        if (code != ML_OK) return code;
    }
}

static bool is_blank(ml_bytes line)
{
    const char *text = line.data;
    for (size_t i = 0; i < line.size; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

/* ---- batches ------------------------------------------------------------------------ */

/* One write for each run of events of the same stream. */
static size_t make_writes(import *im, const batch *of, bool *counted)
{
    size_t count = 0;
    *counted = true;
    for (size_t i = 0; i < of->count; i++) {
        ml_bytes stream = of->slots[i].stream;
        if (count > 0 && ml_bytes_equal(im->writes[count - 1].stream, stream)) {
            im->writes[count - 1].count++;
            continue;
        }
        im->writes[count] =
            (ml_write){.stream = stream, .expected = ML_ANY, .events = &of->drafts[i], .count = 1};
        count++;
        *counted &= ml_import_seen_add(&im->seen, stream);
    }
    return count;
}

/* The line whose id the sentence names, the last if it came twice; else 0. */
static uint64_t find_named_line(const batch *of, const char *sentence)
{
    for (size_t i = of->count; i-- > 0;) {
        char id[ML_UUID_TEXT + 1];
        if (of->drafts[i].id == NULL) continue;
        ml_uuid_write(id, of->drafts[i].id);
        if (strstr(sentence, id) != NULL) return of->slots[i].line;
    }
    return 0;
}

/* Lines were checked one by one, so that what is left to refuse are ids, and the world. */
static ml_code explain_refusal(import *im, const batch *of, ml_code code)
{
    const char *sentence = im->client.why.sentence;
    uint64_t line = find_named_line(of, sentence);
    if (line > 0)
        return ml_error_set(&im->why, code, "line %" PRIu64 ", column 1: %.900s", line, sentence);
    return ml_error_set(&im->why, code, "lines %" PRIu64 " to %" PRIu64 ": %.900s",
                        of->slots[0].line, of->slots[of->count - 1].line, sentence);
}

static void count_receipt(import *im, const batch *of, ml_bytes receipt)
{
    if (ml_client_bool(receipt, "duplicate")) {
        im->duplicates += of->count;
        return;
    }
    if (im->events == 0) im->first = ml_client_natural(receipt, "first");
    im->last = ml_client_natural(receipt, "last");
    im->events += of->count;
}

/* Takes the answer to the batch under way. */
static ml_code land_batch(import *im)
{
    ml_bytes receipt;
    batch *of = im->flying;
    if (of == NULL) return ML_OK;
    im->flying = NULL;
    ml_code code = ml_client_receive(&im->client, &receipt);
    if (code != ML_OK) return explain_refusal(im, of, code);
    count_receipt(im, of, receipt);
    ml_buf_clear(&of->arena);
    of->count = of->bytes = 0;
    ml_progress_move(&im->progress, im->lines.bytes, im->events + im->duplicates);
    return ML_OK;
}

/* Sends the batch off and begins the other one. Only one is ever under way: one that came
 * behind a refused batch would leave a hole in the order of the file. */
static ml_code send_batch(import *im)
{
    batch *of = im->filling;
    if (of->count == 0) return ML_OK;
    bool counted;
    ml_proposal proposal = {.writes = im->writes, .count = make_writes(im, of, &counted)};
    if (!counted) return ml_error_memory(&im->why, "the names of the streams");
    ml_code code = land_batch(im);
    if (code != ML_OK) return code;
    ml_client_pack_append(ml_client_begin(&im->client, "append"), &proposal);
    code = ml_client_send(&im->client);
    if (code != ML_OK) return explain_refusal(im, of, code);
    im->flying = of;
    im->filling = of == im->batches ? of + 1 : im->batches;
    return ML_OK;
}

/* Room for the line behind the batch, or the batch goes first. */
static ml_code make_room(import *im, ml_bytes line)
{
    size_t room = ml_import_line_room(line.size);
    if (im->filling->arena.capacity - im->filling->arena.size >= room) return ML_OK;
    ml_code code = send_batch(im);
    if (code != ML_OK || ml_buf_reserve(&im->filling->arena, room)) return code;
    return ml_error_memory(&im->why, "a line");
}

static ml_code read_line(import *im, ml_bytes line)
{
    batch *of = im->filling;
    ml_import_slot *slot = &of->slots[of->count];
    const uint8_t *before = of->arena.data;
    slot->line = im->lines.number;
    ml_code code = ml_import_line_read(line, &of->arena, slot, &of->drafts[of->count], &im->why);
    ML_ASSERT(of->arena.data == before);
    return code;
}

static ml_code take_line(import *im, ml_bytes line)
{
    if (is_blank(line)) return ML_OK;
    if (line.size > ML_LINE_BYTES_MAX) return refuse_long(im->lines.number, &im->why);
    ml_code code = make_room(im, line);
    if (code == ML_OK) code = read_line(im, line);
    batch *of = im->filling;
    if (code == ML_OK && of->bytes + of->slots[of->count].bytes > BATCH_BYTES_MAX) {
        code = send_batch(im);
        if (code == ML_OK) code = make_room(im, line);
        if (code == ML_OK) code = read_line(im, line); /* again, as the first of the next */
        of = im->filling;
    }
    if (code != ML_OK) return code;
    of->bytes += of->slots[of->count].bytes;
    of->count++;
    return of->count < im->batch_max ? ML_OK : send_batch(im);
}

/* ---- the whole ---------------------------------------------------------------------- */

static ml_code import_lines(import *im)
{
    ml_code code = ML_OK;
    while (code == ML_OK && !ml_cli_interrupted()) {
        ml_bytes line;
        code = next_line(&im->lines, &line, &im->why);
        if (code == ML_OK) code = take_line(im, line);
    }
    if (code == ML_END && !ml_cli_interrupted()) code = send_batch(im);
    if (code == ML_END) code = ML_OK;
    /* A batch before the bad line is written, or is what has to be told first. */
    ml_error later = im->why;
    ml_code landed = land_batch(im);
    if (landed == ML_OK) im->why = later;
    return landed != ML_OK ? landed : code;
}

static int say_stop(const import *im, ml_code code)
{
    const char *hint = code == ML_BAD_REQUEST && im->lines.cut
                           ? " (the last line has no newline: was the file cut short?)" : "";
    return ml_cli_failf(im->cli, code, "%.900s%s; %" PRIu64 " %s imported",
                        im->why.sentence, hint, im->events,
                        im->events == 1 ? "event before it was" : "events before it were");
}

static double rounded(double value)
{
    return nearbyint(value * 1e6) / 1e6;
}

static int show_summary(const import *im)
{
    double seconds = ml_cli_seconds() - im->progress.start;
    ml_bytes none = ML_STR("\xc0");
    uint64_t rate = seconds > 0 ? (uint64_t)((double)im->events / seconds) : 0;
    ml_field fields[] = {
        ML_NATURAL("events", im->events),
        ML_NATURAL("streams", im->seen.count),
        im->events > 0 ? ML_NATURAL("first", im->first) : ML_VALUE("first", none),
        im->events > 0 ? ML_NATURAL("last", im->last) : ML_VALUE("last", none),
        ML_NATURAL("duplicates", im->duplicates),
        ML_NUMBER("seconds", rounded(seconds)),
        ML_NATURAL("events_per_second", rate),
    };
    return ml_show_one(im->cli, fields, 7, ML_EXIT_OK);
}

static int finish(import *im, ml_code code)
{
    ml_progress_end(&im->progress);
    int status = code == ML_OK ? ML_EXIT_OK : say_stop(im, code);
    status = ml_reach_close(im->cli, &im->client, status);
    if (status != ML_EXIT_OK) return status;
    if (!ml_cli_interrupted()) return show_summary(im);
    fprintf(stderr, "moonlog: interrupted; %" PRIu64 " %s imported\n", im->events,
            im->events == 1 ? "event was" : "events were");
    return ML_EXIT_INTERRUPTED;
}

static int import_file(import *im)
{
    int status;
    struct stat about;
    bool sized = fstat(im->lines.file, &about) == 0 && S_ISREG(about.st_mode);
    im->filling = im->batches;
    if (!ml_buf_reserve(&im->batches[0].arena, ARENA_BYTES) ||
        !ml_buf_reserve(&im->batches[1].arena, ARENA_BYTES))
        return ml_cli_fail(im->cli, ML_NO_MEMORY, "no memory for a batch of events");
    if (!ml_reach_open(im->cli, ML_REACH_WRITE, false, &im->client, &status)) return status;
    ml_cli_defer_interrupt();
    ml_progress_begin(&im->progress, im->cli, "importing", sized ? (uint64_t)about.st_size : 0);
    return finish(im, import_lines(im));
}

static bool open_file(import *im, const char *name)
{
    bool standard = name == NULL || strcmp(name, "-") == 0;
    im->lines.name = standard ? "stdin" : name;
    im->lines.file = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    return im->lines.file >= 0;
}

static int run(import *im, const char *name)
{
    if (!open_file(im, name)) {
        ml_code code = ml_error_disk(&im->why, -errno, "open", name);
        return ml_cli_fail(im->cli, code, im->why.sentence);
    }
    int status = import_file(im);
    ml_buf_free(&im->lines.buf);
    ml_buf_free(&im->batches[0].arena);
    ml_buf_free(&im->batches[1].arena);
    ml_import_seen_free(&im->seen);
    if (im->lines.file != STDIN_FILENO)
        ML_IGNORE(close(im->lines.file) != 0); /* it was only read */
    return status;
}

int ml_verb_import(const ml_cli *cli, int argc, char **argv)
{
    uint64_t most = BATCH_EVENTS;
    if (!ml_options_natural(cli, "batch", 1, ML_APPEND_EVENTS_MAX, &most)) return ML_EXIT_USAGE;
    import *im = calloc(1, sizeof *im);
    if (im == NULL) return ml_cli_fail(cli, ML_NO_MEMORY, "no memory for a batch of events");
    im->cli = cli;
    im->batch_max = most;
    int status = run(im, argc > 1 ? argv[1] : NULL);
    free(im);
    return status;
}
