/* balance.c -- a piggy bank in a C program: puts 5 in, and says how much there is.
 *
 * usage: balance DIR      DIR becomes a store if it is not there
 */
#include <moonlog.h>
#include <stdio.h>

#define STREAM ML_STR("piggybank-1")

static ml_code deposit(ml_store *store)
{
    /* Data is MessagePack, in which a number up to 127 is one byte: itself. */
    ml_draft draft = {.type = ML_STR("Deposited"), .data = ML_STR("\x05")};
    ml_write write = {.stream = STREAM, .expected = ML_ANY, .events = &draft, .count = 1};
    return ml_append(store, &(ml_proposal){.writes = &write, .count = 1}, NULL);
}

static ml_code add_up(ml_store *store, unsigned *balance)
{
    ml_cursor *cursor;
    ml_code code = ml_read(store, &(ml_selection){.stream = STREAM}, &cursor);
    if (code != ML_OK) return code;
    ml_event event;
    while ((code = ml_next(cursor, &event)) == ML_OK)
        *balance += *(const unsigned char *)event.data.data;
    ml_cursor_free(cursor);
    return code == ML_END ? ML_OK : code;
}

int main(int argc, char **argv)
{
    ml_store *store;
    unsigned balance = 0;
    ml_code code = ml_open(&store, argc > 1 ? argv[1] : "/tmp/moonlog-piggybank", NULL);
    if (code == ML_OK) code = deposit(store);
    if (code == ML_OK) code = add_up(store, &balance);
    if (code != ML_OK) fprintf(stderr, "%s\n", store != NULL ? ml_why(store) : "NO_MEMORY");
    else printf("balance %u\n", balance);

    ml_code closed = ml_close(store); /* after a failed ml_open too */
    if (closed != ML_OK) fprintf(stderr, "closing: %s\n", ml_code_name(closed));
    return code != ML_OK || closed != ML_OK;
}
