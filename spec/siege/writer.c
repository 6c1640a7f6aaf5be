/* writer.c -- a client that keeps some appends of the model under way. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#include "model.h"

bool ml_writer_connect(ml_writer *writer, bool tcp)
{
    writer->session = ++writer->model->sessions;
    return ml_siege_connect(writer->model->siege, &writer->client, tcp);
}

void ml_writer_close(ml_writer *writer)
{
    ml_client_close(&writer->client, false);
    writer->count = 0;
}

void ml_writer_free(ml_writer *writer)
{
    ml_writer_close(writer);
    free(writer->again);
    writer->again = NULL;
    writer->again_count = writer->again_room = 0;
}

void ml_writer_retry(ml_writer *writer, uint32_t number)
{
    if (writer->again_count == writer->again_room) {
        writer->again_room = writer->again_room == 0 ? 64 : 2 * writer->again_room;
        writer->again = ml_siege_grow(writer->again, writer->again_room * sizeof *writer->again);
    }
    writer->model->attempts[number].retried = true;
    writer->model->attempts[number].queued = true;
    writer->again[writer->again_count++] = number;
}

void ml_writer_begin(ml_writer *writer)
{
    uint32_t number = writer->again_count > 0 ? writer->again[--writer->again_count]
                                              : ml_model_plan(writer->model, writer->session);
    ml_model_pack(writer->model, number, ml_client_begin(&writer->client, "append"));
    writer->waiting[writer->count].msgid = writer->client.msgid;
    writer->waiting[writer->count++].attempt = number;
}

bool ml_writer_fill(ml_writer *writer)
{
    while (writer->count < writer->depth && writer->client.out.size < 1 << 20)
        ml_writer_begin(writer);
    return ml_client_flush(&writer->client);
}

bool ml_writer_answered(ml_writer *writer, const ml_message *message, bool *good)
{
    unsigned n = 0;
    while (n < writer->count && writer->waiting[n].msgid != message->msgid)
        n++;
    if (!message->answer || n == writer->count) return false;
    uint32_t number = writer->waiting[n].attempt;
    writer->waiting[n] = writer->waiting[--writer->count];
    writer->answered++;
    *good = ml_model_answer(writer->model, number, message);
    return true;
}

bool ml_writer_take(ml_writer *writer)
{
    ml_message message;
    bool good = true;
    while (good && ml_client_peek(&writer->client, &message)) {
        if (!ml_writer_answered(writer, &message, &good))
            return ml_siege_wrong(writer->model->siege,
                                  "an answer to nothing that was asked, msgid %" PRIu32,
                                  message.msgid);
        ml_client_drop(&writer->client, &message);
    }
    return good;
}

/* What came before a connection was lost still counts. */
static bool hear(ml_writer *writer)
{
    bool there = ml_client_fill(&writer->client);
    if (!ml_writer_take(writer)) return false;
    if (!there) ml_writer_close(writer);
    return true;
}

bool ml_writer_turn(ml_writer *writers, size_t count, uint64_t until)
{
    struct pollfd on[ML_MODEL_CLIENTS];
    for (size_t n = 0; n < count; n++) {
        ml_writer *writer = &writers[n];
        /* A broken pipe is met again when reading, behind the answers that are still there. */
        bool all =
            writer->client.file < 0 || !ml_writer_fill(writer) || writer->client.out.size == 0;
        on[n] = (struct pollfd){.fd = writer->client.file,
                                .events = (short)(all ? POLLIN : POLLIN | POLLOUT)};
    }
    uint64_t now = ml_siege_now();
    if (poll(on, (nfds_t)count, now >= until ? 0 : (int)((until - now + 999) / 1000)) < 0 &&
        errno != EINTR)
        return false;
    for (size_t n = 0; n < count; n++)
        if ((on[n].revents & ~POLLOUT) != 0 && !hear(&writers[n])) return false;
    return true;
}
