/* queue.c -- what one process is asked, in the order in which it answers. */
#include "process.h"

/* ---- on its way ------------------------------------------------------------------- */

void ml_queue_send(ml_process *process, ml_ask *ask)
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

void ml_queue_fail(ml_ask *asks, ml_code code, const char *sentence)
{
    while (asks != NULL) {
        ml_ask *next = asks->next;
        asks->asked(asks, code, (ml_bytes){0}, sentence);
        asks = next;
    }
}

/* ---- adding and taking ------------------------------------------------------------ */

void ml_queue_add(ml_process *process, ml_ask *ask)
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

ml_ask *ml_queue_take(ml_process *process)
{
    ml_ask *ask = process->first;
    process->first = ask->next;
    process->waiting--;
    process->waiting_bytes -= ask->params.size;
    return ask;
}

ml_ask *ml_queue_take_all(ml_process *process)
{
    ml_ask *asks = process->first;
    process->first = process->last = NULL;
    process->waiting = process->waiting_bytes = 0;
    return asks;
}

void ml_queue_take_out(ml_process *process, ml_ask *ask)
{
    ml_ask **at = &process->first, *before = NULL;
    for (; *at != ask; at = &(*at)->next)
        before = *at;
    *at = ask->next;
    if (process->last == ask) process->last = before;
    process->waiting--;
    process->waiting_bytes -= ask->params.size;
}

/* ---- dropping --------------------------------------------------------------------- */

/* The last that it has begun, or NULL: nothing is known of that. */
static const ml_ask *last_begun(const ml_process *process)
{
    if (process->state != ML_PROCESS_UP) return NULL;
    uint32_t msgid = process->page->msgid;
    const ml_ask *ask = process->first;
    while (ask != NULL && ask->msgid != msgid)
        ask = ask->next;
    return ask;
}

/* Takes out those that `which` says, but not what is before `spared`, or that itself. */
static ml_ask *drop(ml_process *process, bool (*which)(const ml_ask *ask, ml_bytes unit),
                    ml_bytes unit, const ml_ask *spared)
{
    ml_ask *ask = ml_queue_take_all(process), *dropped = NULL, **end = &dropped;
    while (ask != NULL) {
        ml_ask *next = ask->next;
        if (spared != NULL || !which(ask, unit)) {
            ml_queue_add(process, ask);
        } else {
            if (process->culprit == ask) process->culprit = NULL;
            ask->next = NULL;
            *end = ask;
            end = &ask->next;
        }
        if (ask == spared) spared = NULL;
        ask = next;
    }
    if (dropped != NULL) process->dropped = process->last_msgid;
    return dropped;
}

static bool is_command(const ml_ask *ask, ml_bytes unit)
{
    (void)unit;
    return strcmp(ask->method, "command") == 0;
}

ml_ask *ml_queue_drop_commands(ml_process *process)
{
    return drop(process, is_command, (ml_bytes){0}, last_begun(process));
}

static bool is_of_unit(const ml_ask *ask, ml_bytes unit)
{
    return ask->unit != NULL && ml_bytes_equal((ml_bytes){ask->unit, strlen(ask->unit)}, unit);
}

ml_ask *ml_queue_drop_unit(ml_process *process, ml_bytes unit)
{
    return drop(process, is_of_unit, unit, NULL);
}

bool ml_queue_dropped(const ml_process *process, int64_t msgid)
{
    /* Numbers begin anew after 2^32. */
    return process->dropped != 0 && (int32_t)(process->dropped - (uint32_t)msgid) >= 0;
}
