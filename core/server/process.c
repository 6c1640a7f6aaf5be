/* process.c -- see process.h. */
#include "process.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FAILURES = 3,     /* in a row, of processes that end before they have answered anything: */
    PAUSE_MS = 1000,  /* so long is waited then */
    FINISH_MS = 3000, /* for the end in order: the sync of what was written */
    IN_BYTES = 65536
};

/* ---- the socket ------------------------------------------------------------------- */

static void give_space(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    ml_process *process = handle->data;
    (void)suggested;
    if (!ml_buf_reserve(&process->in, IN_BYTES))
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
        if (!ml_answers_take(process, (ml_bytes){data, size})) return false;
        at += size;
    }
    process->in.size -= at;
    if (process->in.size > 0 && at > 0)
        memmove(process->in.data, process->in.data + at, process->in.size);
    if (process->in.size == 0 && process->in.capacity > ML_PROCESS_KEPT) ml_buf_free(&process->in);
    return true;
}

static void half_closed(uv_handle_t *handle);

/* With its socket a process has ended, or is to end; how it did is told by after_exit. */
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
    ml_say(process->server, "error", "%s answers what it was not asked: killed", process->name);
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

/* What the socket does not take at once. */
static void write_rest(ml_process *process, size_t done)
{
    ml_buf spare = process->flying;
    process->flying = process->out;
    process->out = spare;
    uv_buf_t rest =
        uv_buf_init((char *)process->flying.data + done, (unsigned)(process->flying.size - done));
    process->write.data = process;
    process->writing =
        uv_write(&process->write, (uv_stream_t *)&process->pipe, &rest, 1, after_write) == 0;
    if (!process->writing) ml_crew_kill(process);
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
    if (sent < 0 && sent != UV_EAGAIN) return; /* the end of the socket is read soon */
    if (sent != (int)process->out.size)
        write_rest(process, sent > 0 ? (size_t)sent : 0);
    else if (process->out.capacity > ML_PROCESS_KEPT)
        ml_buf_free(&process->out);
    else
        ml_buf_clear(&process->out);
}

void ml_process_flush_all(ml_server *server)
{
    for (ml_process *process = server->processes; process != NULL; process = process->next)
        flush(process);
}

/* ---- starting --------------------------------------------------------------------- */

static void after_exit(uv_process_t *child, int64_t status, int number)
{
    ml_process *process = child->data;
    process->alive = false;
    process->exit_status = status;
    process->exit_signal = number;
    process->state = ML_PROCESS_ENDING;
    uv_close((uv_handle_t *)child, half_closed);
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
    process->dropped = 0;
    process->killed = false;
    process->halves = 1;
    process->started = uv_now(&process->server->loop);
    process->answered_before = process->answered;
    ml_buf_clear(&process->out);
    ml_buf_clear(&process->in);
    ml_wire_reset(&process->wire);
    ml_crew_begin(process);
}

/* What its owner wants to know of it first, and then all that waits. */
static void ask_all(ml_process *process)
{
    ml_ask *others = ml_queue_take_all(process);
    if (process->kind->first != NULL && !process->kind->first(process)) ml_crew_kill(process);
    while (others != NULL) {
        ml_ask *ask = others;
        others = others->next;
        ml_queue_add(process, ask);
    }
    for (ml_ask *ask = process->first; ask != NULL; ask = ask->next)
        ml_queue_send(process, ask);
    if (process->first != NULL) ml_crew_watch(process->server);
}

void ml_process_start(ml_process *process)
{
    if (process->state != ML_PROCESS_DOWN || process->leaving || process->server->stopped) return;
    begin_handles(process);
    int theirs = ml_spawn_page(process) ? open_pair(process) : -1, failed = UV_EMFILE;
    if (theirs >= 0) {
        process->halves = 2;
        failed = ml_spawn_worker(process, theirs, after_exit);
    }
    if (failed) {
        ml_say(process->server, "error", "%s cannot be started: %s", process->name,
               uv_strerror(failed));
        process->state = ML_PROCESS_ENDING;
        if (process->halves == 2) uv_close((uv_handle_t *)&process->child, half_closed);
        close_pipe(process);
        return;
    }
    process->state = ML_PROCESS_UP;
    process->alive = true;
    ask_all(process);
    flush(process);
}

static void start_again(uv_timer_t *timer)
{
    ml_process_start(timer->data);
}

void ml_process_start_in(ml_process *process, uint64_t ms)
{
    if (process->state != ML_PROCESS_DOWN || process->leaving) return;
    uv_timer_start(&process->pause, start_again, ms, 0);
}

/* ---- ending ----------------------------------------------------------------------- */

/* What is left is asked of the next one; but not for ever. */
static void keep_asks(ml_process *process)
{
    ml_ask *asks = ml_queue_take_all(process), *given_up = NULL, **end = &given_up;
    while (asks != NULL) {
        ml_ask *ask = asks;
        asks = asks->next;
        if (process->kind->left != NULL && process->kind->left(process, ask)) continue;
        if (!process->leaving && ++ask->attempts < ML_PROCESS_ATTEMPTS) {
            ml_queue_add(process, ask);
        } else {
            ask->next = NULL;
            *end = ask;
            end = &ask->next;
        }
    }
    if (process->leaving)
        ml_queue_fail(given_up, ML_SHUTTING_DOWN, "whom this was asked of has ended; ask again");
    else
        ml_queue_fail(given_up, ML_TIMEOUT,
                      "the workers that were to do this died again and again; try once more");
}

static void go(ml_process *process)
{
    ml_server *server = process->server;
    if (process->prev != NULL)
        process->prev->next = process->next;
    else
        server->processes = process->next;
    if (process->next != NULL) process->next->prev = process->prev;
    ml_buf_free(&process->in);
    ml_buf_free(&process->out);
    ml_buf_free(&process->flying);
    if (process->page != NULL) munmap(process->page, sizeof *process->page);
    if (process->page_file >= 0) close(process->page_file);
    process->page = NULL;
    process->page_file = -1;
    if (process->kind->gone != NULL) process->kind->gone(process);
}

/* Again at once; but one that never comes to anything is not started in a circle. Its owner may
 * give it up while it is told. */
static void ended(ml_process *process)
{
    ml_server *server = process->server;
    bool early = !process->killed && process->answered_before == process->answered;
    bool leaving = process->leaving;
    process->state = ML_PROCESS_DOWN;
    if (server->stopped) return;
    if (!leaving) ml_crew_attribute(process);
    keep_asks(process);
    if (leaving) go(process);
    if (leaving || process->leaving) return;
    process->restarts++;
    process->failures = early ? process->failures + 1 : 0;
    if (process->kind->again != NULL && !process->kind->again(process)) return;
    if (process->failures < FAILURES)
        ml_process_start(process);
    else
        ml_process_start_in(process, PAUSE_MS);
}

/* The timer goes last: until then it may have to kill. */
static void half_closed(uv_handle_t *handle)
{
    ml_process *process = handle->data;
    ML_ASSERT(process->halves > 0);
    process->state = ML_PROCESS_ENDING;
    bool timer = process->leaving && !uv_is_closing((uv_handle_t *)&process->pause);
    if (--process->halves == 0)
        ended(process);
    else if (process->halves == 1 && timer)
        uv_close((uv_handle_t *)&process->pause, half_closed);
}

static void kill_late(uv_timer_t *timer)
{
    ml_process *process = timer->data;
    if (process->alive) uv_process_kill(&process->child, SIGKILL);
}

void ml_process_finish(ml_process *process)
{
    if (process->state != ML_PROCESS_UP) return;
    flush(process);
    process->killed = true; /* it ends because we want it */
    process->state = ML_PROCESS_ENDING;
    uv_close((uv_handle_t *)&process->pipe, half_closed);
    uv_timer_start(&process->pause, kill_late, FINISH_MS, 0);
}

void ml_process_leave(ml_process *process, bool in_order)
{
    if (process->leaving || process->server->stopped) return;
    process->leaving = true;
    if (in_order) ml_process_finish(process);
    if (process->state == ML_PROCESS_UP) {
        ml_crew_kill(process);
        close_pipe(process);
    }
    process->halves++;
    if (process->state == ML_PROCESS_ENDING) return; /* the timer is closed with the last of it */
    process->state = ML_PROCESS_ENDING;
    uv_close((uv_handle_t *)&process->pause, half_closed);
}

/* ---- asking ----------------------------------------------------------------------- */

ml_code ml_process_ask(ml_process *process, ml_ask *ask, ml_error *why)
{
    if (ask->params.failed) return ml_error_memory(why, "a request to a worker");
    if (process->server->stopped || process->leaving)
        return ml_error_set(why, ML_SHUTTING_DOWN, "the daemon is stopping");
    if (process->waiting >= ML_PROCESS_QUEUE_MAX ||
        process->waiting_bytes + ask->params.size > ML_PROCESS_QUEUE_BYTES)
        return ml_error_set(why, ML_LIMIT, "%zu requests wait for %s; send fewer at once",
                            process->waiting, process->name);
    ml_queue_add(process, ask);
    ask->attempts = 0;
    if (process->state == ML_PROCESS_UP) {
        ml_queue_send(process, ask);
        ml_crew_watch(process->server);
    } else if (!uv_is_active((uv_handle_t *)&process->pause)) {
        ml_process_start(process);
    }
    return ML_OK;
}

void ml_process_tell(ml_process *process, const char *method, ml_bytes args, uint32_t count)
{
    if (process->state != ML_PROCESS_UP) return;
    ml_pack_array(&process->out, 3);
    ml_pack_int(&process->out, 2);
    ml_pack_text(&process->out, method);
    ml_pack_array(&process->out, count);
    ml_buf_add(&process->out, args.data, args.size);
}

/* ---- life ------------------------------------------------------------------------- */

void ml_process_init(ml_process *process, ml_server *server, const ml_process_kind *kind)
{
    *process =
        (ml_process){.server = server, .kind = kind, .page_file = -1, .next = server->processes};
    if (server->processes != NULL) server->processes->prev = process;
    server->processes = process;
    uv_timer_init(&server->loop, &process->pause);
    process->pause.data = process;
}

void ml_process_stop_all(ml_server *server)
{
    for (ml_process *process = server->processes; process != NULL; process = process->next) {
        if (process->state == ML_PROCESS_UP) {
            ml_crew_kill(process);
            close_pipe(process);
        }
        ml_queue_fail(ml_queue_take_all(process), ML_SHUTTING_DOWN,
                      "the daemon is stopping; ask again when it is back");
    }
}

void ml_process_free_all(ml_server *server)
{
    while (server->processes != NULL)
        go(server->processes);
}
