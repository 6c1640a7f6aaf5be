/* ledger.c -- orders by number: made up by dice, packed, answered, found again, added up. */
#include "ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUSY = 6, DEPOSITED_MAX = 120, WITHDRAWN_MAX = 180, PAGE = 1000, AUDITED = 12, NAME = 48 };

static const char *const kinds[] = {"open", "deposit", "withdraw"};
static const char *const types[] = {"AccountOpened", "Deposited", "Withdrawn"};

ml_ledger *ml_ledger_new(ml_siege *siege)
{
    ml_ledger *ledger = ml_siege_grow(NULL, sizeof *ledger);
    *ledger = (ml_ledger){.siege = siege, .count = 1, .next = 1, .used = BUSY};
    for (size_t n = 0; n < ML_LEDGER_ACCOUNTS; n++)
        ledger->accounts[n].told = -1;
    return ledger;
}

void ml_ledger_free(ml_ledger *ledger)
{
    for (size_t n = 0; n < ML_LEDGER_ACCOUNTS; n++)
        free(ledger->accounts[n].events);
    free(ledger->orders);
    free(ledger->views);
    free(ledger);
}

static bool wrong(const ml_ledger *ledger, uint32_t number, const char *what)
{
    const ml_order *order = &ledger->orders[number];
    return ml_siege_wrong(ledger->siege, "order %" PRIu32 " (%s %" PRIu32 " on account %d%s) %s",
                          number, kinds[order->kind], order->amount, order->account,
                          order->named ? ", with command_id" : "", what);
}

/* Mostly few and busy ones, so that commands meet; fresh ones come. */
static uint16_t pick_account(ml_ledger *ledger)
{
    ml_dice *dice = &ledger->siege->dice;
    if (ledger->used < ML_LEDGER_ACCOUNTS && ml_dice_one_in(dice, 60)) return ledger->used++;
    return (uint16_t)ml_dice_below(dice, ml_dice_one_in(dice, 4) ? ledger->used : BUSY);
}

static void pack_text(ml_buf *out, const char *name, const char *value)
{
    ml_pack_text(out, name);
    ml_pack_text(out, value);
}

/* aggregate, id: two entries of a map. */
static void pack_account(ml_buf *out, unsigned account)
{
    char name[NAME];
    snprintf(name, sizeof name, "%u", account);
    pack_text(out, "aggregate", "account");
    pack_text(out, "id", name);
}

static void name_owner(unsigned account, char name[NAME])
{
    snprintf(name, NAME, "owner %u", account);
}

/* ---- orders --------------------------------------------------------------------------- */

uint32_t ml_ledger_order(ml_ledger *ledger)
{
    ml_dice *dice = &ledger->siege->dice;
    if (ledger->count >= ledger->room) {
        ledger->room = ledger->room == 0 ? 4096 : 2 * ledger->room;
        ledger->orders = ml_siege_grow(ledger->orders, ledger->room * sizeof *ledger->orders);
    }
    ml_order *order = &ledger->orders[ledger->count];
    *order = (ml_order){.account = pick_account(ledger),
                        .kind = ML_ORDER_OPEN,
                        .fate = ML_PLANNED,
                        .named = ml_dice_one_in(dice, 2)};
    bool opened = ledger->accounts[order->account].told >= 0;
    if (!ml_dice_one_in(dice, opened ? 40 : 2))
        order->kind = ml_dice_one_in(dice, 2) ? ML_ORDER_DEPOSIT : ML_ORDER_WITHDRAW;
    /* More is asked for than is brought, so that balances stay low, and many are refused. */
    uint32_t most = order->kind == ML_ORDER_WITHDRAW ? WITHDRAWN_MAX : DEPOSITED_MAX;
    if (order->kind != ML_ORDER_OPEN) order->amount = 1 + ml_dice_below(dice, most);
    return ledger->count++;
}

static void pack_arguments(const ml_order *order, ml_buf *out)
{
    char owner[NAME];
    name_owner(order->account, owner);
    ml_pack_text(out, "args");
    ml_pack_map(out, 1);
    if (order->kind == ML_ORDER_OPEN) {
        pack_text(out, "owner", owner);
        return;
    }
    ml_pack_text(out, "amount");
    ml_pack_int(out, order->amount);
}

void ml_ledger_pack(ml_ledger *ledger, uint32_t number, ml_buf *out)
{
    ml_order *order = &ledger->orders[number];
    char id[NAME];
    snprintf(id, sizeof id, "order-%" PRIu32, number);
    ml_pack_map(out, order->named ? 6 : 5);
    pack_account(out, order->account);
    pack_text(out, "name", kinds[order->kind]);
    pack_arguments(order, out);
    ml_pack_text(out, "meta");
    ml_pack_map(out, 1);
    ml_pack_text(out, "order");
    ml_pack_int(out, number);
    if (order->named) pack_text(out, "command_id", id);
    if (order->fate != ML_KEPT) order->fate = ML_SENT;
    order->queued = false;
    order->sends++;
    order->low = ledger->accounts[order->account].told;
}

void ml_ledger_lose(ml_ledger *ledger, uint32_t number)
{
    /* It was sent twice, and only one answer has come. */
    if (ledger->orders[number].fate == ML_REFUSED) ledger->orders[number].fate = ML_SENT;
}

static void keep_view(ml_ledger *ledger, const ml_view *view)
{
    if (ledger->view_count == ledger->view_room) {
        ledger->view_room = ledger->view_room == 0 ? 1024 : 2 * ledger->view_room;
        ledger->views = ml_siege_grow(ledger->views, ledger->view_room * sizeof *ledger->views);
    }
    ledger->views[ledger->view_count++] = *view;
}

static int64_t integer(ml_bytes map, const char *name)
{
    return (int64_t)ml_client_natural(map, name);
}

static bool is_text(ml_bytes map, const char *name, const char *wanted)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_bytes text;
    return cursor.at != NULL && ml_unpack_str(&cursor, &text) &&
           ml_bytes_equal(text, (ml_bytes){wanted, strlen(wanted)});
}

/* What the account must have been like: a refusal that names no reason for it is none. */
static bool refused(ml_ledger *ledger, uint32_t number, ml_bytes refusal)
{
    ml_order *order = &ledger->orders[number];
    ml_bytes detail = ml_unpack_find(refusal, "detail");
    ml_view view = {.kind = ML_VIEW_REFUSAL, .account = order->account, .low = order->low};
    bool opens = order->kind == ML_ORDER_OPEN, good = false;
    if (order->fate == ML_KEPT) return wrong(ledger, number, "has happened, and is refused");
    if (is_text(refusal, "code", "ALREADY_OPEN")) {
        view.open = view.any = good = opens;
    } else if (is_text(refusal, "code", "NOT_OPEN")) {
        good = !opens;
    } else if (is_text(refusal, "code", "INSUFFICIENT_FUNDS")) {
        view.open = true;
        view.balance = integer(detail, "balance");
        good = order->kind == ML_ORDER_WITHDRAW && view.balance < order->amount &&
               view.balance + integer(detail, "short") == order->amount;
    }
    if (!good) return wrong(ledger, number, "is refused for what cannot be");
    keep_view(ledger, &view);
    order->fate = ML_REFUSED;
    ledger->refused++;
    return true;
}

static bool is_event(const ml_ledger *ledger, uint32_t number, const ml_event *event)
{
    const ml_order *order = &ledger->orders[number];
    char stream[NAME];
    snprintf(stream, sizeof stream, "account-%d", order->account);
    return ml_bytes_equal(event->stream, (ml_bytes){stream, strlen(stream)}) &&
           ml_bytes_equal(event->type,
                          (ml_bytes){types[order->kind], strlen(types[order->kind])}) &&
           ml_client_natural(event->meta, "order") == number &&
           ml_client_natural(event->data, "amount") == order->amount;
}

static void learn(ml_ledger *ledger, unsigned account, int64_t revision, uint64_t position)
{
    if (revision > ledger->accounts[account].told) ledger->accounts[account].told = revision;
    if (position > ledger->highest) ledger->highest = position;
}

bool ml_ledger_answer(ml_ledger *ledger, uint32_t number, const ml_message *message)
{
    ml_order *order = &ledger->orders[number];
    ml_bytes refusal = ml_unpack_find(message->body, "refused");
    ml_event event;
    uint32_t count;
    if (message->code != ML_OK)
        return ml_siege_wrong(ledger->siege, "order %" PRIu32 " gets an error: %.*s", number,
                              ML_SHOW(message->text));
    if (refusal.size > 0) return refused(ledger, number, refusal);
    ml_unpack events = ml_client_list(message->body, "events", &count);
    uint64_t position = ml_client_natural(message->body, "position"),
             revision = ml_client_natural(message->body, "revision");
    bool duplicate = ml_unpack_find(message->body, "duplicate").size > 0;
    if (count != 1 || !ml_client_event(&events, &event) || event.position != position ||
        event.revision != revision || !is_event(ledger, number, &event))
        return wrong(ledger, number, "is answered with another event than its own");
    bool known = order->fate == ML_KEPT || order->found;
    if (known && (order->position != position || order->revision != revision))
        return wrong(ledger, number, "has happened, and happens a second time");
    if (order->found && !duplicate) return wrong(ledger, number, "is not said to be a duplicate");
    if (duplicate && order->sends == 1)
        return wrong(ledger, number, "is sent once, and said to be a duplicate");
    order->fate = ML_KEPT;
    order->position = position;
    order->revision = revision;
    learn(ledger, order->account, (int64_t)revision, position);
    ledger->acknowledged++;
    ledger->duplicates += duplicate;
    return true;
}

/* ---- states --------------------------------------------------------------------------- */

ml_view ml_ledger_question(ml_ledger *ledger)
{
    ml_dice *dice = &ledger->siege->dice;
    ml_view view = {.account = pick_account(ledger)};
    view.low = ledger->accounts[view.account].told;
    uint32_t side = ml_dice_below(dice, 4);
    if (side == 0 && view.low >= 0) {
        view.kind = ML_VIEW_REVISION;
        view.asked = ml_dice_below(dice, (uint32_t)view.low + 1);
    } else if (side == 1 && ledger->highest > 0) {
        view.kind = ML_VIEW_POSITION;
        view.asked = 1 + ml_dice_below(dice, (uint32_t)ledger->highest);
    }
    return view;
}

void ml_ledger_pack_question(const ml_view *view, ml_buf *out)
{
    char position[NAME];
    ml_pack_map(out, view->kind == ML_VIEW_NOW ? 2 : 3);
    pack_account(out, view->account);
    if (view->kind == ML_VIEW_NOW) return;
    snprintf(position, sizeof position, "#%" PRIu64, view->asked);
    ml_pack_text(out, "at");
    if (view->kind == ML_VIEW_POSITION)
        ml_pack_text(out, position);
    else
        ml_pack_int(out, (int64_t)view->asked);
}

static bool is_true(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_token token = {0};
    if (cursor.at != NULL) token = ml_unpack_next(&cursor);
    return token.kind == ML_KIND_BOOL && token.boolean;
}

static int64_t read_revision(ml_bytes result)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(result, "revision"));
    int64_t revision = -1;
    bool some = cursor.at != NULL && ml_unpack_int(&cursor, &revision);
    return some ? revision : -1;
}

bool ml_ledger_told(ml_ledger *ledger, ml_view view, const ml_message *message)
{
    char owner[NAME];
    name_owner(view.account, owner);
    ml_bytes state = ml_unpack_find(message->body, "state");
    view.revision = -1;
    ledger->states++;
    if (message->code != ML_OK && message->code != ML_NOT_FOUND)
        return ml_siege_wrong(ledger->siege, "the state of account %d: %.*s", view.account,
                              ML_SHOW(message->text));
    if (message->code == ML_OK) {
        view.revision = read_revision(message->body);
        view.position = ml_client_natural(message->body, "position");
        view.balance = integer(state, "balance");
        view.open = is_true(state, "open");
        if (state.size == 0 || (view.open && !is_text(state, "owner", owner)))
            return ml_siege_wrong(ledger->siege, "the state of account %d has not its owner",
                                  view.account);
    } else if (view.low >= 0) {
        return ml_siege_wrong(ledger->siege, "account %d has events, and no state", view.account);
    }
    if (view.kind == ML_VIEW_NOW) learn(ledger, view.account, view.revision, view.position);
    keep_view(ledger, &view);
    return true;
}

static bool wrong_view(const ml_ledger *ledger, const ml_view *view, const char *what)
{
    static const char *const names[] = {"the state", "the state at revision",
                                        "the state at position", "a refusal, asked"};
    return ml_siege_wrong(ledger->siege,
                          "account %d: %s %" PRIu64 " (last known revision %" PRId64
                          ") says revision %" PRId64 ", balance %" PRId64 ": %s",
                          view->account, names[view->kind], view->asked, view->low, view->revision,
                          view->balance, what);
}

/* True if the account was ever like that, from when it was asked on. */
static bool check_refusal(const ml_ledger *ledger, const ml_view *view)
{
    const ml_account *account = &ledger->accounts[view->account];
    if (!view->open) return view->low < 0 || wrong_view(ledger, view, "it was open already");
    for (uint64_t n = view->low < 0 ? 0 : (uint64_t)view->low; n < account->count; n++)
        if (view->any || account->events[n].balance == view->balance) return true;
    return wrong_view(ledger, view, "it was never so");
}

static int64_t revision_at(const ml_account *account, uint64_t position)
{
    uint64_t first = 0, end = account->count; /* the first event beyond it is in here */
    while (first < end) {
        uint64_t middle = first + (end - first) / 2;
        if (account->events[middle].position <= position)
            first = middle + 1;
        else
            end = middle;
    }
    return (int64_t)first - 1;
}

static bool check_view(const ml_ledger *ledger, const ml_view *view)
{
    const ml_account *account = &ledger->accounts[view->account];
    if (view->kind == ML_VIEW_REFUSAL) return check_refusal(ledger, view);
    if (view->revision >= (int64_t)account->count)
        return wrong_view(ledger, view, "it speaks of events that are not in the log");
    if (view->kind == ML_VIEW_NOW && view->revision < view->low)
        return wrong_view(ledger, view, "it is older than what was known");
    if (view->kind == ML_VIEW_REVISION && view->revision != (int64_t)view->asked)
        return wrong_view(ledger, view, "that is another revision");
    if (view->kind == ML_VIEW_POSITION && view->revision != revision_at(account, view->asked))
        return wrong_view(ledger, view, "that is another position");
    bool none = view->revision < 0;
    if (view->open == none ||
        view->position != (none ? 0 : account->events[view->revision].position))
        return wrong_view(ledger, view, "that is not what it was then");
    if (view->balance != (none ? 0 : account->events[view->revision].balance))
        return wrong_view(ledger, view, "that is not the balance it had then");
    return true;
}

static bool check_views(ml_ledger *ledger)
{
    for (size_t n = 0; n < ledger->view_count; n++)
        if (!check_view(ledger, &ledger->views[n])) return false;
    ledger->view_count = 0;
    return true;
}

/* ---- the log -------------------------------------------------------------------------- */

/* Adds it up. False if rules that were asked on the right state would have refused it. */
static bool add(ml_account *account, const ml_order *order, uint64_t position)
{
    int64_t before = account->count == 0 ? 0 : account->events[account->count - 1].balance,
            change = order->kind == ML_ORDER_WITHDRAW ? -(int64_t)order->amount : order->amount;
    if (account->count == account->room) {
        account->room = account->room == 0 ? 64 : 2 * account->room;
        account->events = ml_siege_grow(account->events, account->room * sizeof *account->events);
    }
    account->events[account->count].position = position;
    account->events[account->count].balance = before + change;
    bool opens = order->kind == ML_ORDER_OPEN, is_open = account->count > 0;
    account->count++;
    return opens != is_open && before + change >= 0;
}

static bool enter(ml_ledger *ledger, const ml_event *event)
{
    uint64_t number = ml_client_natural(event->meta, "order");
    if (number == 0 || number >= ledger->count)
        return ml_siege_wrong(ledger->siege, "position %" PRIu64 ": an event that nobody asked for",
                              event->position);
    ml_order *order = &ledger->orders[number];
    ml_account *account = &ledger->accounts[order->account];
    if (!is_event(ledger, (uint32_t)number, event))
        return wrong(ledger, (uint32_t)number, "wrote another event than its own");
    if (order->found) return wrong(ledger, (uint32_t)number, "TWICE in the log");
    if (order->fate == ML_REFUSED)
        return wrong(ledger, (uint32_t)number, "is in the log, and was refused");
    if (order->fate == ML_KEPT &&
        (order->position != event->position || order->revision != event->revision))
        return wrong(ledger, (uint32_t)number, "is not where its answer said");
    if (event->revision != account->count)
        return wrong(ledger, (uint32_t)number, "follows a gap in the revisions");
    if (!add(account, order, event->position))
        return wrong(ledger, (uint32_t)number, "was decided on a state that was none");
    order->found = true;
    order->position = event->position;
    order->revision = event->revision;
    ledger->events++;
    return true;
}

static ml_buf *begin_read(ml_client *client, uint64_t from, uint32_t more)
{
    ml_buf *out = ml_client_begin(client, "read");
    ml_pack_map(out, 4 + more);
    ml_pack_text(out, "from");
    ml_pack_int(out, (int64_t)from);
    ml_pack_text(out, "limit");
    ml_pack_int(out, PAGE);
    ml_pack_text(out, "raw");
    ml_pack_bool(out, true);
    ml_pack_text(out, "system");
    ml_pack_bool(out, true);
    return out;
}

static bool read_page(ml_ledger *ledger, ml_client *client, bool *end)
{
    ml_message message;
    ml_event event;
    uint32_t count;
    begin_read(client, ledger->next, 0);
    if (!ml_siege_ask(ledger->siege, client, &message)) return false;
    ml_unpack events = ml_client_list(message.body, "events", &count);
    *end = count == 0;
    for (; count > 0; count--, ledger->next++) {
        if (!ml_client_event(&events, &event) || event.position != ledger->next)
            return ml_siege_wrong(ledger->siege, "position %" PRIu64 " is not read", ledger->next);
        bool ours = *(const char *)event.stream.data != '$';
        if (ours && !enter(ledger, &event)) return false;
    }
    return true;
}

bool ml_ledger_read(ml_ledger *ledger, ml_client *client)
{
    for (bool end = false; !end;)
        if (!read_page(ledger, client, &end)) return false;
    for (uint32_t n = 1; n < ledger->count; n++)
        if (ledger->orders[n].fate == ML_KEPT && !ledger->orders[n].found)
            return wrong(ledger, n, "LOST: it was acknowledged, and is not in the log");
    for (unsigned n = 0; n < ledger->used; n++) {
        if (ledger->accounts[n].count == 0) continue;
        uint64_t last = ledger->accounts[n].count - 1;
        learn(ledger, n, (int64_t)last, ledger->accounts[n].events[last].position);
    }
    return check_views(ledger);
}

void ml_ledger_decide(ml_ledger *ledger, bool (*again)(void *context, uint32_t number),
                      void *context)
{
    for (uint32_t n = 1; n < ledger->count; n++) {
        ml_order *order = &ledger->orders[n];
        if (order->fate != ML_SENT) continue;
        bool sent_again = order->queued || again(context, n);
        if (order->found)
            order->fate = ML_KEPT;
        else if (!sent_again)
            order->fate = ML_REFUSED;
    }
}

/* ---- in the end ----------------------------------------------------------------------- */

static bool ask(ml_ledger *ledger, ml_client *client, ml_view view)
{
    ml_message message;
    view.low = ledger->accounts[view.account].told;
    ml_ledger_pack_question(&view, ml_client_begin(client, "state"));
    if (!ml_client_call(client, &message, ML_SIEGE_ANSWER_MS))
        return ml_siege_wrong(ledger->siege, "no answer to a state");
    return ml_ledger_told(ledger, view, &message);
}

/* What its stream itself adds up to, orders or not. */
static bool fold(ml_ledger *ledger, ml_client *client, unsigned number)
{
    const ml_account *account = &ledger->accounts[number];
    char stream[NAME];
    int64_t balance = 0;
    uint64_t revision = 0;
    uint32_t count = 1;
    snprintf(stream, sizeof stream, "account-%u", number);
    while (count > 0) {
        ml_message message;
        pack_text(begin_read(client, revision, 1), "stream", stream);
        if (!ml_siege_ask(ledger->siege, client, &message)) return false;
        ml_unpack events = ml_client_list(message.body, "events", &count);
        for (uint32_t n = 0; n < count; n++, revision++) {
            ml_event event;
            bool good = ml_client_event(&events, &event) && event.revision == revision;
            int64_t amount = good ? integer(event.data, "amount") : 0;
            balance += good && ml_bytes_equal(event.type, ML_STR("Withdrawn")) ? -amount : amount;
            if (!good || revision >= account->count || account->events[revision].balance != balance)
                return ml_siege_wrong(ledger->siege,
                                      "account %u: its stream adds up to %" PRId64
                                      " at revision %" PRIu64,
                                      number, balance, revision);
        }
    }
    return revision == account->count ||
           ml_siege_wrong(ledger->siege, "account %u: its stream ends early", number);
}

static bool audit(ml_ledger *ledger, ml_client *client, unsigned number)
{
    ml_view view = {.account = (uint16_t)number};
    uint64_t count = ledger->accounts[number].count;
    bool good = (count == 0 || fold(ledger, client, number)) && ask(ledger, client, view);
    for (unsigned n = 0; good && count > 0 && n < AUDITED; n++) {
        view.kind = ML_VIEW_REVISION;
        view.asked = n == 0 ? count - 1 : ml_dice_below(&ledger->siege->dice, (uint32_t)count);
        good = ask(ledger, client, view);
    }
    return good;
}

bool ml_ledger_audit(ml_ledger *ledger, ml_client *client)
{
    for (unsigned n = 0; n < ledger->used; n++)
        if (!audit(ledger, client, n)) return false;
    return check_views(ledger);
}
