/* workers.c -- see workers.h.
 *
 *     DOWN ──start──▶ UP ──kill, or it dies by itself──▶ ENDING ──both ends closed──▶ DOWN
 *
 * crew.c looks at those that are at work.
 */
#include "workers.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/crc32c.h"
#include "crew.h"
#include "rules.h"

extern char **environ;

enum {
    FAILURES = 3,    /* in a row, of workers that end before they have answered anything: */
    PAUSE_MS = 1000, /* so long is waited then */
    ENVIRONMENT_MAX = 16
};

static ml_process *process_of(const ml_server *server, int number)
{
    ml_workers *all = server->workers;
    ML_ASSERT(number >= ML_WORKERS_BENCH && number < (int)all->count);
    return number == ML_WORKERS_BENCH ? &all->bench : &all->each[number];
}

/* ---- the queue -------------------------------------------------------------------- */

static void send_ask(ml_process *process, ml_ask *ask)
{
    ask->msgid = ++process->last_msgid;
    if (ask->msgid == 0) ask->msgid = ++process->last_msgid; /* 0 is for nothing at work */
    ml_pack_array(&process->out, 4);
    ml_pack_int(&process->out, 0);
    ml_pack_int(&process->out, ask->msgid);
    ml_pack_text(&process->out, ask->method);
    ml_pack_array(&process->out, ask->count);
    ml_buf_add(&process->out, ask->params.data, ask->params.size);
}

static void add_ask(ml_process *process, ml_ask *ask)
{
    ask->next = NULL;
    if (process->first == NULL)
        process->first = ask;
    else
        process->last->next = ask;
    process->last = ask;
    process->waiting++;
    process->waiting_bytes += ask->params.size;
}

static ml_ask *take_ask(ml_process *process)
{
    ml_ask *ask = process->first;
    process->first = ask->next;
    process->waiting--;
    process->waiting_bytes -= ask->params.size;
    return ask;
}

/* Ends those that are in the list with an error. */
static void fail_asks(ml_ask *asks, ml_code code, const char *sentence)
{
    while (asks != NULL) {
        ml_ask *next = asks->next;
        asks->asked(asks, code, (ml_bytes){0}, sentence);
        asks = next;
    }
}

static ml_ask *take_all(ml_process *process)
{
    ml_ask *asks = process->first;
    process->first = process->last = NULL;
    process->waiting = process->waiting_bytes = 0;
    return asks;
}

/* ---- the pack a worker begins with ------------------------------------------------ */

/* An ask of our own. */
typedef struct first_ask {
    ml_ask ask;
    ml_process *process;
    uint64_t position; /* of the activation: another one may be active when it is answered */
} first_ask;

static void begun(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    first_ask *own = (first_ask *)ask;
    ml_process *process = own->process;
    ml_server *server = process->server;
    bool staged = strcmp(ask->method, "stage") == 0;
    if (code && code != ML_SHUTTING_DOWN)
        ml_say(server, "error", "worker %d cannot have the active rules: %s", process->number,
               sentence);
    else if (!code && staged && own->position == ml_rules_active(server)->position)
        ml_rules_compare(server, result);
    ml_buf_free(&ask->params);
    free(own);
}

static first_ask *new_first(ml_process *process, const char *method)
{
    first_ask *own = calloc(1, sizeof *own);
    if (own != NULL)
        *own = (first_ask){.ask = {.method = method, .asked = begun},
                           .process = process,
                           .position = ml_rules_active(process->server)->position};
    return own;
}

/* Before anything else: the pack that is active now. False if memory is refused. */
static bool ask_first(ml_process *process)
{
    const ml_pack *pack = ml_rules_active(process->server);
    if (ml_packs_none(pack)) return true;
    first_ask *stage = new_first(process, "stage"), *activate = new_first(process, "activate");
    if (stage == NULL || activate == NULL) {
        free(stage);
        free(activate);
        return false;
    }
    ml_buf_add(&stage->ask.params, pack->files.data, pack->files.size);
    ml_pack_int(&stage->ask.params, ML_STAGE_PROVED);
    stage->ask.count = 2;
    ml_ask *others = process->first, *last = process->last;
    size_t waiting = process->waiting, bytes = process->waiting_bytes;
    take_all(process);
    add_ask(process, &stage->ask);
    add_ask(process, &activate->ask);
    process->last->next = others;
    if (others != NULL) process->last = last;
    process->waiting += waiting;
    process->waiting_bytes += bytes;
    return !stage->ask.params.failed;
}

/* ---- answers ---------------------------------------------------------------------- */

/* [number, "CODE: sentence"]: the worker's word is checked like a client's. */
static ml_code read_error(ml_unpack *cursor, ml_error *why)
{
    uint32_t count;
    int64_t number;
    ml_bytes text;
    char sentence[ML_SENTENCE_MAX];
    if (!ml_unpack_array(cursor, &count) || count != 2 || !ml_unpack_int(cursor, &number) ||
        number < 1 || number > ML_UNREACHABLE || !ml_unpack_str(cursor, &text))
        return ml_error_set(why, ML_INTERNAL, "a worker's error is none that is known");
    size_t size = text.size < sizeof sentence ? text.size : sizeof sentence - 1;
    memcpy(sentence, text.data, size);
    sentence[size] = '\0';
    return ml_error_retell(why, (ml_code)number, sentence);
}

/* Without `msgid`, from which on `cursor` goes. False: that is no answer. */
static bool take_answer(ml_process *process, ml_unpack *cursor)
{
    int64_t msgid;
    if (!ml_unpack_int(cursor, &msgid) || process->first == NULL || process->first->msgid != msgid)
        return false;
    ml_error why = {.code = ML_OK};
    ml_code code = *cursor->at == 0xc0 ? ML_OK : read_error(cursor, &why);
    if (!code && !ml_unpack_skip(cursor)) return false;
    ml_bytes result = {cursor->at, (size_t)(cursor->end - cursor->at)};
    if (code && result.size == 1) result.size = 0; /* nil: nothing besides */
    process->answered++;
    ml_ask *ask = take_ask(process);
    if (process->culprit == ask) process->culprit = NULL; /* it came to its end after all */
    process->begun = process->begun || strcmp(ask->method, "activate") == 0;
    ask->asked(ask, code, result, why.sentence);
    return true;
}

static bool take_ready(ml_process *process, ml_unpack *cursor)
{
    uint32_t count;
    ml_bytes name;
    int64_t walls;
    if (!ml_unpack_str(cursor, &name) || !ml_unpack_array(cursor, &count) ||
        !ml_unpack_int(cursor, &walls))
        return false;
    process->walls = (unsigned)walls;
    return ml_bytes_equal(name, ML_STR("ready"));
}

static bool take_message(ml_process *process, ml_bytes message)
{
    ml_unpack cursor = ml_unpack_from(message);
    uint32_t count;
    int64_t kind;
    if (!ml_unpack_array(&cursor, &count) || !ml_unpack_int(&cursor, &kind)) return false;
    if (kind == 1 && count == 4) return take_answer(process, &cursor);
    return kind == 2 && count == 3 && take_ready(process, &cursor);
}

/* ---- the socket ------------------------------------------------------------------- */

static void give_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    ml_process *process = handle->data;
    (void)suggested;
    if (!ml_buf_reserve(&process->in, 65536))
        *buf = uv_buf_init(NULL, 0);
    else
        *buf = uv_buf_init((char *)process->in.data + process->in.size,
                           (unsigned)(process->in.capacity - process->in.size));
}

/* Handles whole messages. False if one is none: whoever sends that is not to be trusted. */
static bool take_messages(ml_process *process)
{
    static const ml_wire_limits limits = {.bytes = ML_WORKER_MESSAGE_MAX,
                                          .depth = ML_WIRE_DEPTH_MAX};
    size_t at = 0;
    ml_error why;
    while (at < process->in.size) {
        const uint8_t *data = process->in.data + at;
        ml_wire_found found =
            ml_wire_scan(&process->wire, data, process->in.size - at, &limits, &why);
        if (found == ML_WIRE_BAD) return false;
        if (found == ML_WIRE_MORE) break;
        size_t size = process->wire.scanned;
        ml_wire_reset(&process->wire);
        if (!take_message(process, (ml_bytes){data, size})) return false;
        at += size;
    }
    process->in.size -= at;
    if (process->in.size > 0 && at > 0)
        memmove(process->in.data, process->in.data + at, process->in.size);
    if (process->in.size == 0 && process->in.capacity > ML_PROCESS_KEPT) ml_buf_free(&process->in);
    return true;
}

static void half_closed(uv_handle_t *handle);

/* With its socket a worker has ended, or is to end; how it did is told by after_exit. */
static void close_pipe(ml_process *process)
{
    if (uv_is_closing((uv_handle_t *)&process->pipe)) return;
    if (process->state == ML_PROCESS_UP) uv_process_kill(&process->child, SIGKILL);
    process->state = ML_PROCESS_ENDING;
    uv_close((uv_handle_t *)&process->pipe, half_closed);
}

static void after_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    ml_process *process = stream->data;
    (void)buf;
    if (count == 0) return;
    if (count < 0) {
        close_pipe(process);
        return;
    }
    process->in.size += (size_t)count;
    ml_crew_progress(process);
    if (take_messages(process)) return;
    ml_say(process->server, "error", "worker %d answers what it was not asked: killed",
           process->number);
    close_pipe(process);
}

static void after_write(uv_write_t *write, int status)
{
    ml_process *process = write->data;
    (void)status; /* if it failed, the end of the socket is read soon */
    process->writing = false;
    if (process->flying.capacity > ML_PROCESS_KEPT) ml_buf_free(&process->flying);
    ml_buf_clear(&process->flying);
}

static void flush(ml_process *process)
{
    if (process->state != ML_PROCESS_UP || process->writing || process->out.size == 0) return;
    if (process->out.failed) {
        ml_crew_kill(process); /* what is still in the queue is asked of the next */
        return;
    }
    uv_buf_t whole = uv_buf_init((char *)process->out.data, (unsigned)process->out.size);
    int sent = uv_try_write((uv_stream_t *)&process->pipe, &whole, 1);
    if (sent == (int)process->out.size) {
        if (process->out.capacity > ML_PROCESS_KEPT)
            ml_buf_free(&process->out);
        else
            ml_buf_clear(&process->out);
        return;
    }
    if (sent < 0 && sent != UV_EAGAIN) return; /* the end of the socket is read soon */
    size_t done = sent > 0 ? (size_t)sent : 0;
    ml_buf spare = process->flying;
    process->flying = process->out;
    process->out = spare;
    whole =
        uv_buf_init((char *)process->flying.data + done, (unsigned)(process->flying.size - done));
    process->write.data = process;
    process->writing =
        uv_write(&process->write, (uv_stream_t *)&process->pipe, &whole, 1, after_write) == 0;
    if (!process->writing) ml_crew_kill(process);
}

void ml_workers_flush(ml_server *server)
{
    ml_workers *all = server->workers;
    if (all == NULL) return;
    flush(&all->bench);
    for (size_t n = 0; n < all->count; n++)
        flush(&all->each[n]);
}

/* ---- starting --------------------------------------------------------------------- */

/* A page that both see. It cannot be cut short, so looking at it cannot fail. */
static bool make_page(ml_process *process)
{
    if (process->page != NULL) {
        memset(process->page, 0, sizeof *process->page);
        return true;
    }
    int file = memfd_create("moonlog worker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return false;
    void *page = MAP_FAILED;
    if (ftruncate(file, sizeof *process->page) == 0 &&
        fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        page = mmap(NULL, sizeof *process->page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) {
        close(file);
        return false;
    }
    process->page = page;
    process->page_file = file;
    return true;
}

/* A worker gets nothing of our environment but what sanitizers are told. */
static void pick_environment(char *words[ENVIRONMENT_MAX])
{
    size_t count = 0;
    for (char **at = environ; *at != NULL && count + 1 < ENVIRONMENT_MAX; at++) {
        const char *equals = strchr(*at, '=');
        if (equals == NULL) continue;
        if (equals - *at >= 11 && strncmp(equals - 11, "SAN_OPTIONS", 11) == 0)
            words[count++] = *at;
    }
    words[count] = NULL;
}

static void after_exit(uv_process_t *child, int64_t status, int number)
{
    ml_process *process = child->data;
    process->exit_status = status;
    process->exit_signal = number;
    process->state = ML_PROCESS_ENDING;
    uv_close((uv_handle_t *)child, half_closed);
}

/* `theirs` is closed in any case. 0, or libuv's error with the child's handle still to be closed.
 */
static int spawn(ml_process *process, int theirs)
{
    ml_server *server = process->server;
    const char *words[] = {"moonlog", "worker", "--data", server->options->dir, NULL};
    char *environment[ENVIRONMENT_MAX];
    uv_stdio_container_t files[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        /* A command waits for the end of its daemon's stderr, which is not to be that of the last
           worker. */
        {.flags = server->options->client >= 0 ? UV_IGNORE : UV_INHERIT_FD,
         .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = theirs},
        {.flags = UV_INHERIT_FD, .data.fd = process->page_file},
    };
    uv_process_options_t options = {.exit_cb = after_exit,
                                    .file = "/proc/self/exe",
                                    .args = (char **)(uintptr_t)words,
                                    .env = environment,
                                    .stdio = files,
                                    .stdio_count = sizeof files / sizeof *files};
    pick_environment(environment);
    int failed = uv_spawn(&server->loop, &process->child, &options);
    process->child.data = process;
    close(theirs);
    return failed;
}

/* Ours becomes the pipe; gives theirs, or -1. */
static int open_pair(ml_process *process)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return -1;
    int failed = uv_pipe_open(&process->pipe, pair[0]);
    if (failed) close(pair[0]);
    if (!failed) failed = uv_read_start((uv_stream_t *)&process->pipe, give_space, after_read);
    if (!failed) return pair[1];
    close(pair[1]);
    return -1;
}

static void begin_handles(ml_process *process)
{
    uv_timer_stop(&process->pause);
    uv_pipe_init(&process->server->loop, &process->pipe, 0);
    process->pipe.data = process->child.data = process;
    process->exit_status = process->exit_signal = 0;
    process->begun = process->killed = false;
    process->halves = 1;
    process->started = uv_now(&process->server->loop);
    process->answered_before = process->answered;
    ml_buf_clear(&process->out);
    ml_buf_clear(&process->in);
    ml_wire_reset(&process->wire);
}

static void start(ml_process *process)
{
    ML_ASSERT(process->state == ML_PROCESS_DOWN);
    if (process->server->stopped) return;
    begin_handles(process);
    int theirs = make_page(process) ? open_pair(process) : -1, failed = UV_EMFILE;
    if (theirs >= 0) {
        process->halves = 2;
        failed = spawn(process, theirs);
    }
    if (failed) {
        ml_say(process->server, "error", "worker %d cannot be started: %s", process->number,
               uv_strerror(failed));
        process->state = ML_PROCESS_ENDING;
        if (process->halves == 2) uv_close((uv_handle_t *)&process->child, half_closed);
        close_pipe(process);
        return;
    }
    process->state = ML_PROCESS_UP;
    if (!ask_first(process)) ml_crew_kill(process);
    for (ml_ask *ask = process->first; ask != NULL; ask = ask->next)
        send_ask(process, ask);
    if (process->first != NULL) ml_crew_watch(process->server);
    flush(process);
}

static void start_again(uv_timer_t *timer)
{
    start(timer->data);
}

/* ---- ending ----------------------------------------------------------------------- */

/* What is left is asked of the next one; but not for ever. */
static void keep_asks(ml_process *process)
{
    ml_ask *asks = take_all(process), *given_up = NULL, **end = &given_up;
    while (asks != NULL) {
        ml_ask *ask = asks;
        asks = asks->next;
        bool first = ask->asked == begun;
        if (first) { /* the next one has its own */
            ml_buf_free(&ask->params);
            free(ask);
        } else if (++ask->attempts < ML_WORKERS_ATTEMPTS) {
            add_ask(process, ask);
        } else {
            ask->next = NULL;
            *end = ask;
            end = &ask->next;
        }
    }
    fail_asks(given_up, ML_TIMEOUT,
              "the workers that were to do this died again and again; try once more");
}

/* Again at once; but one that never comes to anything is not started in a circle. */
static void ended(ml_process *process)
{
    ml_server *server = process->server;
    bool early = !process->killed && process->answered_before == process->answered;
    process->state = ML_PROCESS_DOWN;
    if (server->stopped) return;
    ml_crew_attribute(process);
    keep_asks(process);
    process->restarts++;
    process->failures = early ? process->failures + 1 : 0;
    if (process->failures < FAILURES)
        start(process);
    else
        uv_timer_start(&process->pause, start_again, PAUSE_MS, 0);
}

static void half_closed(uv_handle_t *handle)
{
    ml_process *process = handle->data;
    ML_ASSERT(process->halves > 0);
    process->state = ML_PROCESS_ENDING;
    if (--process->halves == 0) ended(process);
}

/* ---- asking ----------------------------------------------------------------------- */

ml_code ml_workers_ask(ml_server *server, int number, ml_ask *ask, ml_error *why)
{
    ml_process *process = process_of(server, number);
    if (ask->params.failed) return ml_error_memory(why, "a request to a worker");
    if (server->stopped) return ml_error_set(why, ML_SHUTTING_DOWN, "the daemon is stopping");
    if (process->waiting >= ML_WORKERS_QUEUE_MAX ||
        process->waiting_bytes + ask->params.size > ML_WORKERS_QUEUE_BYTES)
        return ml_error_set(
            why, ML_LIMIT,
            "%zu requests wait for worker %d; send fewer at once, or serve with more --workers",
            process->waiting, number);
    add_ask(process, ask);
    ask->attempts = 0;
    if (process->state == ML_PROCESS_UP) {
        send_ask(process, ask);
        ml_crew_watch(server);
    } else if (process->state == ML_PROCESS_DOWN && !uv_is_active((uv_handle_t *)&process->pause)) {
        start(process);
    }
    return ML_OK;
}

void ml_workers_tell(ml_server *server, int number, const char *method, ml_bytes args,
                     uint32_t count)
{
    ml_process *process = process_of(server, number);
    if (process->state != ML_PROCESS_UP) return;
    ml_pack_array(&process->out, 3);
    ml_pack_int(&process->out, 2);
    ml_pack_text(&process->out, method);
    ml_pack_array(&process->out, count);
    ml_buf_add(&process->out, args.data, args.size);
}

void ml_workers_start(ml_server *server)
{
    ml_workers *all = server->workers;
    for (size_t n = 0; n < all->count; n++)
        if (all->each[n].state == ML_PROCESS_DOWN) start(&all->each[n]);
}

void ml_workers_renew(ml_server *server, int number)
{
    ml_process *process = process_of(server, number);
    if (process->state == ML_PROCESS_UP) ml_crew_kill(process);
}

bool ml_workers_begun(const ml_server *server)
{
    const ml_workers *all = server->workers;
    for (size_t n = 0; n < all->count; n++)
        if (!all->each[n].begun) return false;
    return true;
}

size_t ml_workers_count(const ml_server *server)
{
    return server->workers->count;
}

int ml_workers_shard(const ml_server *server, ml_bytes stream)
{
    return (int)(ml_crc32c(0, stream.data, stream.size) % server->workers->count);
}

int ml_workers_idlest(const ml_server *server)
{
    const ml_workers *all = server->workers;
    size_t best = 0;
    for (size_t n = 1; n < all->count; n++)
        if (all->each[n].waiting_bytes < all->each[best].waiting_bytes) best = n;
    return (int)best;
}

/* ---- life ------------------------------------------------------------------------- */

static void init(ml_server *server, ml_process *process, int number)
{
    *process = (ml_process){.server = server, .number = number, .page_file = -1};
    uv_timer_init(&server->loop, &process->pause);
    process->pause.data = process;
}

size_t ml_server_workers(void)
{
    size_t processors = uv_available_parallelism();
    return processors < ML_WORKERS_MAX ? processors : ML_WORKERS_MAX;
}

ml_code ml_workers_begin(ml_server *server, ml_error *why)
{
    size_t count = server->options->workers > 0 ? server->options->workers : ml_server_workers();
    if (count > ML_WORKERS_MAX) count = ML_WORKERS_MAX;
    ml_workers *all = calloc(1, sizeof *all + count * sizeof *all->each);
    if (all == NULL) return ml_error_memory(why, "the workers");
    server->workers = all;
    all->count = count;
    uv_timer_init(&server->loop, &all->clock);
    all->clock.data = server;
    init(server, &all->bench, ML_WORKERS_BENCH);
    for (size_t n = 0; n < count; n++)
        init(server, &all->each[n], (int)n);
    return ML_OK;
}

static void stop(ml_process *process)
{
    if (process->state == ML_PROCESS_UP) {
        ml_crew_kill(process);
        close_pipe(process);
    }
    fail_asks(take_all(process), ML_SHUTTING_DOWN,
              "the daemon is stopping; ask again when it is back");
}

void ml_workers_stop(ml_server *server)
{
    ml_workers *all = server->workers;
    if (all == NULL) return;
    stop(&all->bench);
    for (size_t n = 0; n < all->count; n++)
        stop(&all->each[n]);
}

static void free_process(ml_process *process)
{
    ml_buf_free(&process->in);
    ml_buf_free(&process->out);
    ml_buf_free(&process->flying);
    if (process->page != NULL) munmap(process->page, sizeof *process->page);
    if (process->page_file >= 0) close(process->page_file);
}

void ml_workers_free(ml_server *server)
{
    ml_workers *all = server->workers;
    if (all == NULL) return;
    free_process(&all->bench);
    for (size_t n = 0; n < all->count; n++)
        free_process(&all->each[n]);
    free(all);
    server->workers = NULL;
}
