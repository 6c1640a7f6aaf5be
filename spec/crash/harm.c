/* harm.c -- a closed store, one harm done to it, and what becomes of that. */
#include "harm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/store/store.h"
#include "workload.h"

/* ---- looking at a damaged store ----------------------------------------------------- */

static void ignore(void *context, const char *sentence)
{
    (void)context, (void)sentence;
}

static bool verify(ml_harm *harm)
{
    ml_verified verified = {0};
    ml_error why = {0};
    ml_code code = ml_verify_disk(harm->image, true, ignore, NULL, &verified, &why);
    return code == ML_OK && verified.problems == 0;
}

static ml_outcome read_all(ml_harm *harm, ml_store *store)
{
    ml_stats stats = {0};
    size_t given = 0, lost = 0;
    if (ml_get_stats(store, &stats)) return ML_WRONG;
    if (!ml_model_check_damaged(&harm->model, store, &given, &lost)) {
        snprintf(harm->why, sizeof harm->why, "%s", harm->model.why);
        return ML_WRONG;
    }
    if (stats.damaged) return ML_DAMAGED_OPEN;
    if (given + lost != harm->model.count) {
        snprintf(harm->why, sizeof harm->why, "%zu of %zu events are gone without a word",
                 harm->model.count - given - lost, harm->model.count);
        return ML_WRONG;
    }
    return lost > 0 ? ML_BY_READING : ML_SILENT;
}

ml_outcome ml_harm_look(ml_harm *harm)
{
    bool clean = verify(harm);
    ml_code code;
    ml_store *store = ml_play_open(harm->image, &harm->store, &code);
    ml_outcome seen = ML_REFUSED;
    if (code == ML_OK) {
        seen = read_all(harm, store);
    } else if ((code != ML_CORRUPT && code != ML_UNSUPPORTED) || strlen(ml_why(store)) < 20) {
        snprintf(harm->why, sizeof harm->why, "opening gives %s", ml_why(store));
        seen = ML_WRONG;
    }
    ML_IGNORE(ml_close(store)); /* the image is thrown away */
    if (seen == ML_WRONG) return ML_WRONG;
    if (seen != ML_SILENT && clean) {
        snprintf(harm->why, sizeof harm->why, "verify finds nothing wrong");
        return ML_WRONG;
    }
    return seen == ML_SILENT && !clean ? ML_BY_VERIFY : seen;
}

bool ml_harm_fail(const ml_harm *harm)
{
    printf("flip: FAILED: %s: %s\n", harm->what, harm->why);
    return false;
}

void ml_harm_say(ml_harm *harm, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(harm->what, sizeof harm->what, format, arguments);
    va_end(arguments);
}

bool ml_harm_take(ml_harm *harm, bool harmless)
{
    ml_outcome seen = ml_harm_look(harm);
    if (seen == ML_SILENT && !harmless) {
        snprintf(harm->why, sizeof harm->why, "nobody notices");
        seen = ML_WRONG;
    }
    harm->found[seen]++;
    harm->all++;
    return seen != ML_WRONG || ml_harm_fail(harm);
}

bool ml_harm_take_as(ml_harm *harm, ml_outcome wanted)
{
    static const char *const words[ML_OUTCOMES] = {
        "refused", "opened damaged", "noticed by reading", "verified only", "not noticed", "wrong"};
    ml_outcome seen = ml_harm_look(harm);
    harm->found[seen]++;
    harm->all++;
    if (seen == wanted) return true;
    if (seen != ML_WRONG)
        snprintf(harm->why, sizeof harm->why, "it is %s, and should be %s", words[seen],
                 words[wanted]);
    return ml_harm_fail(harm);
}

void ml_harm_fresh(ml_harm *harm)
{
    ml_disk_sim_crash_into(harm->base, &(ml_disk_sim_fate){0}, harm->image);
}

/* ---- making stores ------------------------------------------------------------------ */

static void add_events(ml_store *store, ml_model *model, ml_dice *dice, unsigned count,
                       unsigned size)
{
    for (unsigned n = 0; n < count; n++) {
        unsigned stream = ml_dice_below(dice, ML_MODEL_STREAMS),
                 events = 1 + ml_dice_below(dice, 3);
        ml_model_room rooms[3];
        ml_draft drafts[3];
        for (unsigned i = 0; i < events; i++) {
            const ml_model_event *event = ml_model_add(
                model, stream, ml_dice_below(dice, ML_MODEL_TYPES),
                ml_dice_below(dice, 1u << ML_MODEL_TAGS), 10 + ml_dice_below(dice, size));
            ml_model_draft(event, &rooms[i], &drafts[i]);
        }
        model->events[model->count - 1].last = true;
        ml_write write = {ml_model_stream(stream), ML_ANY, drafts, events};
        ml_code code = ml_append(store, &(ml_proposal){.writes = &write, .count = 1}, NULL);
        if (code) fprintf(stderr, "flip: %s\n", ml_why(store));
        ML_ASSERT(code == ML_OK);
    }
}

void ml_harm_add(const ml_harm *harm, ml_disk *disk, ml_model *model, ml_dice *dice,
                 unsigned appends, unsigned size)
{
    ml_code code;
    ml_store *store = ml_play_open(disk, &harm->store, &code);
    ML_ASSERT(code == ML_OK);
    add_events(store, model, dice, appends, size);
    code = ml_close(store);
    ML_ASSERT(code == ML_OK);
    ml_disk_sim_settle(disk);
}

ml_disk *ml_harm_make(const ml_harm *harm, ml_model *model, uint64_t seed, unsigned appends,
                      unsigned size)
{
    ml_disk *disk = NULL;
    ml_dice dice = {seed};
    ml_code code =
        ml_disk_sim_new(&(ml_disk_sim_options){.file_bytes = 1 << 18, .seed = seed}, &disk, NULL);
    ML_ASSERT(code == ML_OK);
    *model = (ml_model){0};
    ml_harm_add(harm, disk, model, &dice, appends, size);
    return disk;
}

void ml_harm_free(ml_harm *harm)
{
    ml_disk_free(harm->base);
    ml_disk_free(harm->other);
    ml_disk_free(harm->image);
    ml_model_free(&harm->model);
    ml_model_free(&harm->other_model);
    harm->base = harm->other = harm->image = NULL;
}

/* ---- files -------------------------------------------------------------------------- */

static void keep_path(void *context, const char *path)
{
    ml_listing *list = context;
    size_t size = strlen(path), end = strlen(list->suffix);
    if (size < end || strcmp(path + size - end, list->suffix) != 0) return;
    ML_ASSERT(list->count < ML_HARM_FILES);
    snprintf(list->paths[list->count++], ML_HARM_PATH, "%s", path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

ml_listing ml_harm_list(const ml_disk *disk, const char *suffix)
{
    ml_listing list = {.suffix = suffix};
    ml_image_each(disk, keep_path, &list);
    qsort(list.paths, list.count, sizeof list.paths[0], by_name);
    return list;
}

/* Puts the content of a file of `from` at `to`. */
void ml_harm_put(ml_disk *disk, const char *to, ml_disk *from, const char *path)
{
    uint64_t size;
    const uint8_t *content = ml_disk_sim_content(from, path, &size);
    ML_ASSERT(content != NULL);
    int file = disk->ops->open(disk, to, ML_DISK_CREATE);
    ML_ASSERT(file >= 0);
    int64_t written = disk->ops->pwrite(disk, file, content, (size_t)size, 0);
    ML_ASSERT(written == (int64_t)size);
    disk->ops->close(disk, file);
    ml_disk_sim_settle(disk);
}

bool ml_harm_whole(ml_harm *harm)
{
    ml_code code;
    ml_stats stats = {0};
    size_t found = 0;
    ml_store *store = ml_play_open(harm->image, &harm->store, &code);
    if (!code) code = ml_get_stats(store, &stats);
    bool good = code == ML_OK && !stats.damaged;
    if (!good) snprintf(harm->why, sizeof harm->why, "opening gives %s", ml_why(store));
    if (good && (!ml_model_check(&harm->model, store, harm->model.count, &found) ||
                 !ml_model_check_index(&harm->model, store, found))) {
        good = false;
        snprintf(harm->why, sizeof harm->why, "%s", harm->model.why);
    }
    ML_IGNORE(ml_close(store)); /* the image is thrown away */
    return good || ml_harm_fail(harm);
}
