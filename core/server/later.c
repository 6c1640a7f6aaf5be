/* later.c -- see later.h. */
#include "later.h"

#include "packs.h"

ml_later ml_later_begin(const ml_call *call, size_t bytes)
{
    ml_conn *conn = call->conn;
    size_t promised = bytes > 0 ? bytes : conn->usual;
    conn->refs++;
    conn->in_flight++;
    conn->promised += promised;
    return (ml_later){
        .conn = conn, .msgid = call->msgid, .request = call->request, .promised = promised};
}

static bool waits(const ml_later *later)
{
    return later->conn != NULL && later->request && !later->conn->closing;
}

ml_buf *ml_later_answer(const ml_later *later)
{
    if (!waits(later)) return NULL;
    ml_buf *out = ml_dispatch_answer(later->conn, later->msgid);
    later->conn->answer = out->size;
    return out;
}

bool ml_later_overfull(const ml_later *later)
{
    const ml_conn *conn = later->conn;
    return waits(later) && conn->out.size + conn->flying.size > OUT_ANSWERS_MAX;
}

void ml_later_refuse(const ml_later *later, ml_code code, const char *sentence)
{
    if (waits(later)) ml_dispatch_refuse(later->conn, later->msgid, code, sentence);
}

void ml_later_explain(const ml_later *later, ml_code code, const char *sentence, ml_bytes more)
{
    ml_bytes fault = ml_unpack_find(more, "fault");
    if (!waits(later)) return;
    if (!later->explain || fault.size == 0) {
        ml_dispatch_refuse(later->conn, later->msgid, code, sentence);
        return;
    }
    ml_buf *out = ml_later_answer(later);
    ml_pack_map(out, 2);
    ml_pack_text(out, "error");
    ml_dispatch_pack_error(out, code, sentence);
    ml_pack_text(out, "fault");
    ml_buf_add(out, fault.data, fault.size);
}

/* The largest answer lately: one of eight times the size of what is usual is forgotten after some
 * twenty of that. */
static void note_usual(ml_conn *conn)
{
    size_t bytes = conn->answer > 0 ? conn->out.size - conn->answer : 0;
    conn->usual -= conn->usual / 8;
    if (bytes > conn->usual) conn->usual = bytes;
    conn->answer = 0;
}

void ml_later_end(ml_later *later)
{
    ml_conn *conn = later->conn;
    if (conn == NULL) return;
    later->conn = NULL;
    note_usual(conn);
    conn->in_flight--;
    conn->promised -= later->promised;
    ml_conn_dirty(conn); /* one that has ended is closed by the flush that finds nothing left */
    ml_conn_release(conn);
}
