/* play.c -- one step at a time, and what the store may answer to it. */
#include "workload.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/base/disk_faulty.h"
#include "../../core/store/store.h"

static void wrong(ml_play *play, const char *format, ...) ML_FORMAT(2, 3);
static void wrong(ml_play *play, const char *format, ...)
{
    if (play->wrong) return;
    play->wrong = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(play->why, sizeof play->why, format, arguments);
    va_end(arguments);
}

static bool done(const ml_play *play)
{
    return play->wrong || play->over || play->store == NULL;
}

/* ---- opening and closing ------------------------------------------------------------ */

ml_options ml_play_options(const ml_workload *workload)
{
    return (ml_options){.segment_bytes = workload->segment_bytes,
                        .memory_events = workload->memory_events,
                        .window_events = workload->window_events,
                        .heads_bytes = 4096,
                        .no_threads = true};
}

ml_store *ml_play_open(ml_disk *disk, const ml_options *options, ml_code *code)
{
    /* A store frees its disk; this one goes in its place. */
    ml_disk *door = NULL;
    ml_store *store = NULL;
    *code = ml_disk_faulty_new(disk, &door, NULL);
    ML_ASSERT(*code == ML_OK);
    *code = ml_store_open(&store, door, options);
    ML_ASSERT(store != NULL);
    return store;
}

/* Opens, and holds what is there against the model: from here on it is all durable. */
static void open_store(ml_play *play, size_t least)
{
    ml_options options = ml_play_options(play->workload);
    ml_code code;
    ml_stats stats = {0};
    play->store = ml_play_open(play->disk, &options, &code);
    if (!code) code = ml_get_stats(play->store, &stats);
    if (code || stats.damaged) {
        if (!play->faults)
            wrong(play, "TORN-AS-CORRUPT or refused: opening gives %s", ml_why(play->store));
        play->refusals++;
        play->over = true;
        return;
    }
    size_t found;
    if (!ml_model_check(&play->model, play->store, least, &found)) {
        /* A read that failed is an answer while calls may fail; a wrong event never is. */
        if (play->faults && strncmp(play->model.why, "reading", 7) == 0)
            play->over = true;
        else
            wrong(play, "after opening: %s", play->model.why);
        return;
    }
    ml_model_cut(&play->model, found);
    play->model.visible = play->model.durable = found;
}

static void close_store(ml_play *play)
{
    if (play->store == NULL) return;
    bool failed = play->over;
    ml_code code = ml_close(play->store);
    play->store = NULL;
    if (code == ML_OK && !failed && !play->wrong) {
        play->model.visible = play->model.durable = play->model.count;
        return;
    }
    if (code && !play->faults && !play->full) wrong(play, "closing gives %s", ml_code_name(code));
    play->refusals++;
}

static void watch(ml_play *play, bool on)
{
    if (play->hook != NULL)
        ml_disk_sim_on_op(play->disk, on ? play->hook : NULL, play->hook_context);
}

/* What the disk holds that was found: from here on, every further crash gives just that. */
static void learn(ml_play *play)
{
    ml_options options = ml_play_options(play->workload);
    ml_code code;
    ml_stats stats = {0};
    size_t found = 0;
    ml_store *store = ml_play_open(play->cut, &options, &code);
    if (!code) code = ml_get_stats(store, &stats);
    if (code || stats.damaged)
        wrong(play, "TORN-AS-CORRUPT or refused: opening gives %s", ml_why(store));
    else if (!ml_model_check(&play->model, store, play->cut_durable, &found))
        wrong(play, "%s", play->model.why);
    ML_IGNORE(ml_close(store)); /* the disk is thrown away */
    ml_model_cut(&play->model, found);
    play->model.visible = play->model.durable = found;
}

/* The power has gone in a call of this step: the play goes on with the disk that is left. */
static void follow_cut(ml_play *play)
{
    watch(play, false);
    ML_IGNORE(ml_close(play->store)); /* on a disk that is no more */
    play->store = NULL;
    ml_disk_sim_crash_into(play->cut, &(ml_disk_sim_fate){0}, play->disk);
    play->model.count = play->cut_count;
    play->submitted = play->answered = 0;
    learn(play);
    ml_disk_free(play->cut);
    play->cut = NULL;
    watch(play, true);
    if (!play->wrong) open_store(play, play->model.durable);
}

/* Between two steps. False if there is no going on. */
static bool next(ml_play *play)
{
    while (play->cut != NULL && !play->wrong)
        follow_cut(play);
    play->step++;
    return !done(play);
}

/* ---- proposals ---------------------------------------------------------------------- */

typedef struct proposal {
    ml_proposal ours;
    ml_query query;
    ml_query_item item;
    ml_bytes type, tag;
    ml_code verdict;
    size_t before; /* the history's count */
} proposal;

static int64_t expect(ml_play *play, unsigned how, unsigned stream, ml_code *verdict)
{
    int64_t revision = ml_model_revision(&play->model, stream, play->model.count);
    if (how == ML_PLAN_WRONG && *verdict == ML_OK) {
        *verdict = ML_WRONG_EXPECTED_REVISION;
        if (revision < 0) return ml_dice_one_in(&play->dice, 2) ? ML_STREAM_EXISTS : 0;
        return ml_dice_one_in(&play->dice, 2) ? ML_NO_STREAM : revision + 1;
    }
    if (how != ML_PLAN_RIGHT) return ML_ANY;
    if (revision < 0) return ML_NO_STREAM;
    return ml_dice_one_in(&play->dice, 4) ? ML_STREAM_EXISTS : revision;
}

static void add_condition(ml_play *play, const ml_plan *want, proposal *made)
{
    unsigned type = ml_dice_below(&play->dice, ML_MODEL_TYPES),
             tag = ml_dice_below(&play->dice, ML_MODEL_TAGS);
    size_t after = play->model.count;
    while (want->condition == ML_PLAN_WRONG && after > 0 &&
           !ml_model_has(&play->model, type, tag, after))
        after--;
    while (want->condition == ML_PLAN_RIGHT && after > 0 &&
           !ml_model_has(&play->model, type, tag, after - 1))
        after--;
    made->type = ml_model_type(type);
    made->tag = ml_model_tag(tag);
    made->item = (ml_query_item){&made->type, 1, &made->tag, 1};
    made->query = (ml_query){&made->item, 1};
    made->ours.condition = &made->query;
    made->ours.after = after;
    bool excluded = ml_model_has(&play->model, type, tag, after);
    if (excluded && made->verdict == ML_OK) made->verdict = ML_CONDITION_FAILED;
}

static void propose(ml_play *play, const ml_plan *want, proposal *made)
{
    ml_model *model = &play->model;
    ml_dice *dice = &play->dice;
    unsigned writes = 1 + (want->writes > 1 ? ml_dice_below(dice, want->writes) : 0), events = 0;
    unsigned spread = want->size_max - want->size_min + 1;
    *made = (proposal){
        .ours = {.writes = play->writes, .count = writes, .durability = want->durability},
        .before = model->count};
    if (want->condition) add_condition(play, want, made);
    for (unsigned w = 0; w < writes; w++) {
        unsigned count = 1 + (want->events > 1 ? ml_dice_below(dice, want->events) : 0);
        if (events == ML_PLAY_EVENTS) {
            made->ours.count = w;
            break;
        }
        unsigned stream = ml_dice_below(dice, ML_MODEL_STREAMS), first = events;
        ml_code verdict = ML_OK;
        int64_t expected = expect(play, want->expected, stream, &verdict);
        if (verdict) made->verdict = verdict; /* told before the condition is looked at */
        for (unsigned n = 0; n < count && events < ML_PLAY_EVENTS; n++, events++) {
            unsigned tags =
                ml_dice_below(dice, 1u << ML_MODEL_TAGS) & ml_dice_below(dice, 1u << ML_MODEL_TAGS);
            const ml_model_event *event =
                ml_model_add(model, stream, ml_dice_below(dice, ML_MODEL_TYPES), tags,
                             want->size_min + ml_dice_below(dice, spread));
            ml_model_draft(event, &play->rooms[events], &play->drafts[events]);
        }
        play->writes[w] =
            (ml_write){ml_model_stream(stream), expected, &play->drafts[first], events - first};
    }
    model->events[model->count - 1].last = true;
}

/* What is refused was never handed over, as far as the history goes. */
static void take_back(ml_play *play, const proposal *made)
{
    if (made->verdict) ml_model_cut(&play->model, made->before);
}

static void check_receipt(ml_play *play, const ml_receipt *receipt, size_t before, size_t after)
{
    if (receipt->first == before + 1 && receipt->last == after && !receipt->duplicate) return;
    wrong(play, "the receipt says %" PRIu64 " to %" PRIu64 "%s, not %zu to %zu", receipt->first,
          receipt->last, receipt->duplicate ? " (a duplicate)" : "", before + 1, after);
}

static void check_revisions(ml_play *play, const ml_receipt *receipt)
{
    for (size_t n = 0, at = (size_t)receipt->first - 1; n < receipt->count; n++) {
        at += play->writes[n].count;
        if (receipt->revisions[n] != play->model.events[at - 1].revision)
            wrong(play, "the receipt gives revision %" PRIu64 " for write %zu, not %" PRIu64,
                  receipt->revisions[n], n, play->model.events[at - 1].revision);
    }
}

/* After STORE_FAILED nothing may be taken any more; the next opening tells what is there. */
static void reopen_failed(ml_play *play)
{
    ml_draft draft = {.type = ML_STR("Late")};
    ml_write write = {ML_STR("late"), ML_ANY, &draft, 1};
    ml_code code = ml_append(play->store, &(ml_proposal){.writes = &write, .count = 1}, NULL);
    if (code != ML_STORE_FAILED)
        wrong(play, "NO FENCE: after STORE_FAILED an append gives %s", ml_code_name(code));
    play->over = true;
    close_store(play);
    play->over = false;
    if (!play->wrong) open_store(play, play->model.visible);
}

/* An answer that is no success: was it to be expected? */
static void take_refusal(ml_play *play, const proposal *made, ml_code code)
{
    ml_model *model = &play->model;
    const char *why = ml_why(play->store);
    play->refusals++;
    if (strlen(why) < strlen(ml_code_name(code)) + 4)
        wrong(play, "%s comes without a sentence", ml_code_name(code));
    if (code == made->verdict) return;
    if (code == ML_NO_SPACE && (play->full || play->faults)) {
        ml_model_cut(model, made->before);
    } else if (play->faults && code == ML_STORE_FAILED) {
        reopen_failed(play);
    } else if (play->faults && code != ML_WRONG_EXPECTED_REVISION && code != ML_CONDITION_FAILED &&
               code != ML_INTERNAL) {
        ml_model_cut(model, made->before);
    } else {
        wrong(play, "an append gives %s, not %s: %s", ml_code_name(code),
              made->verdict ? ml_code_name(made->verdict) : "OK", why);
    }
}

void ml_play_append(ml_play *play, const ml_plan *want)
{
    if (!next(play)) return;
    proposal made;
    ml_receipt receipt;
    propose(play, want, &made);
    take_back(play, &made);
    size_t after = play->model.count;
    ml_code code = ml_append(play->store, &made.ours, &receipt);
    if (play->cut != NULL) return;
    if (code) {
        take_refusal(play, &made, code);
        return;
    }
    if (made.verdict) {
        wrong(play, "an append is taken that should be refused with %s",
              ml_code_name(made.verdict));
        return;
    }
    check_receipt(play, &receipt, made.before, after);
    check_revisions(play, &receipt);
    if (want->durability == ML_MEMORY) return;
    play->model.visible = after;
    if (want->durability == ML_DISK) play->model.durable = after;
}

/* ---- group commit ------------------------------------------------------------------- */

static void settled(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    ml_play *play = context;
    size_t n = play->answered++;
    if (play->cut != NULL) return;
    if (n >= play->submitted) {
        wrong(play, "an answer to nothing");
    } else if (code == ML_OK) {
        size_t before = n > 0 ? play->ends[n - 1] : play->model.visible;
        if (n == 0) before = (size_t)receipt->first - 1;
        check_receipt(play, receipt, before, play->ends[n]);
        play->model.visible = play->ends[n];
        if (play->synced[n]) play->model.durable = play->ends[n];
    } else if (why == NULL || strlen(why) < 8) {
        wrong(play, "%s comes without a sentence", ml_code_name(code));
    }
}

void ml_play_submit(ml_play *play, const ml_plan *want)
{
    if (play->cut != NULL || done(play) || play->submitted == ML_PLAY_PENDING) return;
    proposal made;
    propose(play, want, &made);
    take_back(play, &made);
    ml_code code = ml_submit(play->store, &made.ours, settled, play);
    if (play->cut != NULL) return;
    if (code) {
        take_refusal(play, &made, code);
    } else if (made.verdict) {
        wrong(play, "a proposal is admitted that should be refused with %s",
              ml_code_name(made.verdict));
    } else {
        play->ends[play->submitted] = play->model.count;
        play->synced[play->submitted++] = want->durability == ML_DISK;
    }
}

void ml_play_settle(ml_play *play)
{
    if (!next(play)) return;
    ml_code code = ml_settle(play->store, true);
    if (play->cut == NULL && play->answered != play->submitted)
        wrong(play, "%zu of %zu proposals were answered", play->answered, play->submitted);
    play->submitted = play->answered = 0;
    if (play->cut != NULL || !code) return;
    proposal none = {.before = play->model.visible};
    take_refusal(play, &none, code);
}

/* ---- other steps -------------------------------------------------------------------- */

void ml_play_flush(ml_play *play)
{
    if (!next(play)) return;
    size_t after = play->model.count;
    ml_code code = ml_flush(play->store, ML_DISK);
    if (play->cut != NULL) return;
    if (code) {
        proposal none = {.before = play->model.visible};
        take_refusal(play, &none, code);
        return;
    }
    play->model.visible = play->model.durable = after;
}

void ml_play_reopen(ml_play *play)
{
    if (!next(play)) return;
    close_store(play);
    if (play->cut == NULL && !play->wrong) open_store(play, play->model.visible);
}

/* Hands in again the append that holds the event `back` before the last one: it must be known. */
void ml_play_retry(ml_play *play, size_t back)
{
    if (!next(play) || play->model.visible == 0) return;
    ml_model *model = &play->model;
    size_t first = model->visible - 1 - (back < model->visible ? back : model->visible - 1),
           last = first;
    while (first > 0 && !model->events[first - 1].last)
        first--;
    while (!model->events[last].last)
        last++;
    /* The window is promised from its first event on; and only what fits here is tried. */
    if (model->visible - first > play->workload->window_events || last - first >= ML_PLAY_WRITES)
        return;
    for (size_t n = first; n <= last; n++) {
        ml_model_draft(&model->events[n], &play->rooms[n - first], &play->drafts[n - first]);
        play->writes[n - first] = (ml_write){ml_model_stream(model->events[n].stream), ML_ANY,
                                             &play->drafts[n - first], 1};
    }
    ml_receipt receipt;
    ml_proposal again = {.writes = play->writes, .count = last - first + 1};
    ml_code code = ml_append(play->store, &again, &receipt);
    if (play->cut != NULL) return;
    if (code) {
        proposal none = {.before = model->visible};
        take_refusal(play, &none, code);
    } else if (!receipt.duplicate || receipt.first != first + 1 || receipt.last != last + 1) {
        wrong(play, "RETRY: positions %zu to %zu come again as %" PRIu64 " to %" PRIu64, first + 1,
              last + 1, receipt.first, receipt.last);
    } else {
        model->durable = model->visible; /* it asked for the disk */
    }
}

/* A second writer is kept out. */
void ml_play_lock_out(ml_play *play)
{
    if (!next(play)) return;
    ml_options options = ml_play_options(play->workload);
    ml_code code;
    ml_store *second = ml_play_open(play->disk, &options, &code);
    if (code != ML_LOCKED && !play->faults) wrong(play, "a second writer gets %s", ml_why(second));
    if (code == ML_OK) wrong(play, "a second writer gets in");
    ML_IGNORE(ml_close(second)); /* it was never open */
}

/* What was submitted and not settled is not read. */
void ml_play_peek(ml_play *play)
{
    if (play->cut != NULL || done(play) || play->faults) return;
    size_t found;
    if (!ml_model_check(&play->model, play->store, play->model.visible, &found))
        wrong(play, "%s", play->model.why);
    else if (found > play->model.visible)
        wrong(play, "UNSETTLED: %zu events are read, %zu are acknowledged", found,
              play->model.visible);
}

/* Everything by index, too. */
void ml_play_look(ml_play *play)
{
    if (!next(play) || play->faults) return;
    size_t found;
    if (!ml_model_check(&play->model, play->store, play->model.visible, &found) ||
        !ml_model_check_index(&play->model, play->store, found))
        wrong(play, "%s", play->model.why);
}

void ml_play_set_space(ml_play *play, uint64_t bytes)
{
    if (play->under == NULL) return;
    play->full = bytes != UINT64_MAX;
    ml_disk_sim_set_space(play->under, bytes);
}

bool ml_play_append_one(ml_model *model, ml_store *store, bool full)
{
    ml_model_room room;
    ml_draft draft;
    size_t before = model->count;
    ml_model_event *event = ml_model_add(model, 1, 1, 1, 40);
    event->last = true;
    ml_model_draft(event, &room, &draft);
    ml_write write = {ml_model_stream(1), (int64_t)event->revision - 1, &draft, 1};
    if (event->revision == 0) write.expected = ML_NO_STREAM;
    ml_receipt receipt = {0};
    ml_code code = ml_append(store, &(ml_proposal){.writes = &write, .count = 1}, &receipt);
    if (code == ML_NO_SPACE && full) {
        ml_model_cut(model, before);
        return true;
    }
    if (!code && receipt.first == before + 1 && !receipt.duplicate) return true;
    snprintf(model->why, sizeof model->why, "an append after recovery gives %s",
             code ? ml_why(store) : "a wrong receipt");
    return false;
}

/* ---- a play ------------------------------------------------------------------------- */

void ml_play_run(ml_play *play)
{
    watch(play, true);
    open_store(play, 0);
    play->workload->steps(play);
    do {
        if (next(play)) close_store(play);
    } while (play->cut != NULL && !play->wrong);
    watch(play, false);
    if (play->store != NULL) ML_IGNORE(ml_close(play->store)); /* failed already */
    play->store = NULL;
}

void ml_play_free(ml_play *play)
{
    ml_disk_free(play->cut);
    ml_model_free(&play->model);
}
