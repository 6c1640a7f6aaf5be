/* later.c -- see later.h. */
#include "later.h"

#include "packs.h"

ml_later ml_later_begin(const ml_call *call)
{
    call->conn->refs++;
    call->conn->in_flight++;
    return (ml_later){.conn = call->conn, .msgid = call->msgid, .request = call->request};
}

static bool waits(const ml_later *later)
{
    return later->conn != NULL && later->request && !later->conn->closing;
}

ml_buf *ml_later_answer(const ml_later *later)
{
    return waits(later) ? ml_dispatch_answer(later->conn, later->msgid) : NULL;
}

void ml_later_refuse(const ml_later *later, ml_code code, const char *sentence)
{
    if (waits(later)) ml_dispatch_refuse(later->conn, later->msgid, code, sentence);
}

void ml_later_explain(const ml_later *later, ml_code code, const char *sentence, ml_bytes more)
{
    ml_bytes fault = ml_packs_find(more, "fault");
    if (!waits(later)) return;
    if (!later->explain || fault.size == 0) {
        ml_dispatch_refuse(later->conn, later->msgid, code, sentence);
        return;
    }
    ml_buf *out = ml_dispatch_answer(later->conn, later->msgid);
    ml_pack_map(out, 2);
    ml_pack_text(out, "error");
    ml_dispatch_pack_error(out, code, sentence);
    ml_pack_text(out, "fault");
    ml_buf_add(out, fault.data, fault.size);
}

void ml_later_end(ml_later *later)
{
    ml_conn *conn = later->conn;
    if (conn == NULL) return;
    later->conn = NULL;
    conn->in_flight--;
    ml_conn_dirty(conn); /* one that has ended is closed by the flush that finds nothing left */
    ml_conn_release(conn);
}
