/* simulate.c -- power lost after every disk call, in every way the simulated disk allows.
 *
 *     workload ──call──▶ disk: n units, d directory operations pending
 *                          │  for each of the first 0 … d operations:
 *                          │    n <= 8: all subsets of the units
 *                          │    n >  8: all prefixes, all losses of a single one, 64 random
 *                          ▼
 *                        image ──recover──▶ the model's verdict
 *                                  └─ of some: by index, recover again, append
 *
 * Images that were seen before at the same state of the model are counted, not tried again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/store/store.h"
#include "crash.h"
#include "workload.h"

enum {
    SUBSETS_MAX = 8, /* units of which every subset is tried */
    RANDOM = 64,
    WORDS = 64,       /* of a fate: 4,096 units */
    INDEX_EVERY = 4,  /* of the distinct images: read by index */
    AGAIN_EVERY = 8,  /* … recovered again, and appended to */
    DAMAGE_EVERY = 4, /* of the calls: flips in what is durable */
    DAMAGE_FLIPS = 4,
    CUTS_MAX = 3
};

typedef struct figures {
    uint64_t plays, ops, states, distinct, indexed, again, damaged;
} figures;

typedef struct seen {
    uint64_t *slots;
    size_t count, capacity;
} seen;

typedef struct explorer {
    const ml_crash_options *options;
    const ml_workload *workload;
    figures *figures;
    uint64_t seed, op, cut_at;
    unsigned cuts;
    enum ml_disk_op call;
    ml_play play;
    ml_dice dice; /* of fates: apart from the play's, so that it is not disturbed */
    ml_disk *image, *spare;
    seen seen;
    ml_disk *broken; /* the disk on which the violation was found */
    char fate[WORDS * 16 + 24], why[ML_MODEL_WHY];
    bool wrong;
} explorer;

/* ---- images seen -------------------------------------------------------------------- */

static void grow(seen *set)
{
    seen grown = {.capacity = set->capacity > 0 ? set->capacity * 2 : 1 << 12};
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    ML_ASSERT(grown.slots != NULL);
    for (size_t n = 0; n < set->capacity; n++) {
        if (set->slots[n] == 0) continue;
        size_t at = set->slots[n] & (grown.capacity - 1);
        while (grown.slots[at] != 0)
            at = (at + 1) & (grown.capacity - 1);
        grown.slots[at] = set->slots[n];
    }
    grown.count = set->count;
    free(set->slots);
    *set = grown;
}

/* True if it is new. */
static bool add(seen *set, uint64_t hash)
{
    if (set->count * 2 >= set->capacity) grow(set);
    hash += hash == 0;
    size_t at = hash & (set->capacity - 1);
    for (; set->slots[at] != 0; at = (at + 1) & (set->capacity - 1))
        if (set->slots[at] == hash) return false;
    set->slots[at] = hash;
    set->count++;
    return true;
}

/* ---- the verdict on one image ------------------------------------------------------- */

static bool say(explorer *x, const char *what, const char *why)
{
    snprintf(x->why, sizeof x->why, "%s%.400s", what, why);
    x->wrong = true;
    return false;
}

static ml_store *open_image(explorer *x)
{
    ml_options options = ml_play_options(x->workload);
    ml_stats stats = {0};
    ml_code code;
    ml_store *store = ml_play_open(x->image, &options, &code);
    if (!code) code = ml_get_stats(store, &stats);
    if (code == ML_OK && !stats.damaged) return store;
    say(x,
        stats.damaged || code == ML_CORRUPT ? "TORN-AS-CORRUPT: opening gives "
                                            : "REFUSED: opening gives ",
        ml_why(store));
    ML_IGNORE(ml_close(store));
    return NULL;
}

static bool recover(explorer *x, size_t least, bool index, size_t *found)
{
    ml_model *model = &x->play.model;
    ml_store *store = open_image(x);
    if (store == NULL) return false;
    bool good = ml_model_check(model, store, least, found);
    if (good && index) good = ml_model_check_index(model, store, *found);
    if (!good) say(x, "", model->why);
    ml_code code = ml_close(store);
    if (good && code && !x->play.full)
        good = say(x, "closing after recovery gives ", ml_code_name(code));
    return good;
}

static void note_problem(void *context, const char *sentence)
{
    explorer *x = context;
    if (!x->wrong) say(x, "verify finds fault: ", sentence);
}

static bool verify(explorer *x)
{
    ml_verified verified = {0};
    ml_error why = {0};
    ml_code code = ml_verify_disk(x->image, true, note_problem, x, &verified, &why);
    if (code && code != ML_CORRUPT && !x->wrong) say(x, "verify is refused: ", why.sentence);
    return !x->wrong;
}

/* Before anybody recovers: who only reads finds no fault, and changes nothing. What he is shown
 * is also there after recovery. */
static bool look_only(explorer *x, size_t *shown)
{
    ml_model *model = &x->play.model;
    ml_options options = ml_play_options(x->workload);
    uint64_t before = ml_image_hash(x->image, "");
    ml_code code;
    options.read_only = true;
    ml_store *store = ml_play_open(x->image, &options, &code);
    bool good = code == ML_OK ? ml_model_check(model, store, 0, shown) : false;
    if (code)
        say(x, "opening to read gives ", ml_why(store));
    else if (!good)
        say(x, "opened to read: ", model->why);
    ML_IGNORE(ml_close(store)); /* it only read */
    if (!good) return false;
    if (!verify(x)) return false;
    return ml_image_hash(x->image, "") == before || say(x, "only to read ", "changes the disk");
}

/* A second recovery finds the same bytes; then the store goes on. */
static bool recover_again(explorer *x, size_t found)
{
    ml_model *model = &x->play.model;
    uint64_t before = ml_image_hash(x->image, "log/");
    size_t count;
    if (!verify(x)) return false;
    if (!recover(x, found, false, &count)) return false;
    if (count != found)
        return say(x, "UNEQUAL: ", "the second recovery gives another number of events");
    if (ml_image_hash(x->image, "log/") != before)
        return say(x, "UNEQUAL: ", "the second recovery changes the log");
    ml_store *store = open_image(x);
    if (store == NULL) return false;
    /* The history goes on in another way than in the play: for this image only. */
    ml_model kept = *model;
    ml_model_event next = {0};
    if (found < model->count) next = model->events[found];
    ml_model_cut(model, found);
    bool good = ml_play_append_one(model, store, x->play.full) &&
                ml_model_check(model, store, model->count, &count) &&
                ml_model_check_index(model, store, count);
    kept.events = model->events;
    kept.capacity = model->capacity;
    kept.blocks = model->blocks;
    if (!good) say(x, "after a second recovery: ", model->why);
    *model = kept;
    if (found < model->count) model->events[found] = next;
    ML_IGNORE(ml_close(store)); /* the image is thrown away */
    return good;
}

static void judge(explorer *x)
{
    figures *f = x->figures;
    bool index = ++f->distinct % INDEX_EVERY == 0, again = f->distinct % AGAIN_EVERY == 0;
    size_t found, shown = 0;
    if (again && !look_only(x, &shown)) return;
    if (!recover(x, shown > x->play.model.durable ? shown : x->play.model.durable, index, &found))
        return;
    f->indexed += index;
    if (!again || !recover_again(x, found)) return;
    f->again++;
}

/* ---- fates -------------------------------------------------------------------------- */

static void print_fate(explorer *x, const ml_disk_sim_fate *fate, size_t units)
{
    size_t at = (size_t)snprintf(x->fate, sizeof x->fate, "%zu:", fate->dir_ops);
    for (size_t n = 0; n < (units + 63) / 64; n++)
        at += (size_t)snprintf(x->fate + at, sizeof x->fate - at, "%016" PRIx64, fate->kept[n]);
}

static void visit(explorer *x, ml_disk *disk, const uint64_t *kept, size_t dir_ops)
{
    if (x->wrong) return;
    ml_disk_sim_fate fate = {.kept = kept, .dir_ops = dir_ops};
    const ml_model *model = &x->play.model;
    x->figures->states++;
    ml_disk_sim_crash_into(disk, &fate, x->image);
    uint64_t hash =
        ml_image_hash(x->image, "") ^ model->durable * 0x9e3779b97f4a7c15u ^ model->count;
    if (!add(&x->seen, hash)) return;
    judge(x);
    if (!x->wrong) return;
    print_fate(x, &fate, ml_disk_sim_pending(disk).units);
    x->broken = disk;
}

static void set_all(uint64_t *kept, size_t units)
{
    memset(kept, 0, WORDS * sizeof *kept);
    for (size_t n = 0; n < units; n++)
        kept[n / 64] |= UINT64_C(1) << n % 64;
}

static void visit_many(explorer *x, ml_disk *disk, size_t units, size_t dir_ops)
{
    uint64_t kept[WORDS] = {0};
    visit(x, disk, kept, dir_ops);
    for (size_t n = 0; n < units && !x->wrong; n++) {
        kept[n / 64] |= UINT64_C(1) << n % 64;
        visit(x, disk, kept, dir_ops);
    }
    for (size_t n = 0; n < units && !x->wrong; n++) {
        kept[n / 64] ^= UINT64_C(1) << n % 64;
        visit(x, disk, kept, dir_ops);
        kept[n / 64] ^= UINT64_C(1) << n % 64;
    }
    for (size_t i = 0; i < RANDOM && !x->wrong; i++) {
        for (size_t n = 0; n < (units + 63) / 64; n++)
            kept[n] = ml_dice_roll(&x->dice);
        visit(x, disk, kept, dir_ops);
    }
}

static void visit_all(explorer *x, ml_disk *disk)
{
    ml_disk_sim_count pending = ml_disk_sim_pending(disk);
    ML_ASSERT(pending.units <= 64 * WORDS);
    for (size_t dir_ops = 0; dir_ops <= pending.dir_ops && !x->wrong; dir_ops++) {
        if (pending.units > SUBSETS_MAX) {
            visit_many(x, disk, pending.units, dir_ops);
            continue;
        }
        for (uint64_t subset = 0; subset < UINT64_C(1) << pending.units && !x->wrong; subset++)
            visit(x, disk, &subset, dir_ops);
    }
}

/* The one fate of the command line, again. */
static void visit_one(explorer *x, ml_disk *disk)
{
    uint64_t kept[WORDS] = {0};
    char *hex;
    size_t dir_ops = strtoul(x->options->fate, &hex, 10), n = 0;
    ML_ASSERT(*hex == ':');
    for (hex++; strlen(hex) >= 16 && n < WORDS; hex += 16, n++) {
        char word[17] = {0};
        memcpy(word, hex, 16);
        kept[n] = strtoull(word, NULL, 16);
    }
    if (dir_ops <= ml_disk_sim_pending(disk).dir_ops) visit(x, disk, kept, dir_ops);
}

/* ---- damage in what is durable ------------------------------------------------------ */

/* All that was written is on the disk, then a bit flips in a frame that is known to be synced:
 * the store may open damaged, or refuse the event when it is read; it may not cut. */
typedef struct harm {
    ml_image_frames durable;
    char path[ML_IMAGE_PATH];
    uint64_t offset, hash;
    uint8_t bit;
    size_t count; /* events that are durable at least */
} harm;

/* Every other time the WATERMARK is lost: then only the frames behind say what was synced. */
static bool do_harm(explorer *x, const ml_disk *disk, harm *h)
{
    ml_disk_sim_count pending = ml_disk_sim_pending(disk);
    uint64_t kept[WORDS], size;
    bool lose_mark = ml_dice_one_in(&x->dice, 2);
    set_all(kept, pending.units);
    ml_disk_sim_crash_into(disk, &(ml_disk_sim_fate){kept, pending.dir_ops}, x->image);
    *h = (harm){.durable = {x->play.model.durable, false}, .count = x->play.model.durable};
    if (lose_mark) {
        h->durable = (ml_image_frames){ml_image_durable(x->image), true};
        h->count = 0;
        int refused = x->image->ops->unlink(x->image, "WATERMARK");
        if (refused < 0) return false;
        ml_disk_sim_set_space(x->image, UINT64_MAX); /* to make another */
    }
    if (!ml_image_pick(x->image, h->durable, ml_dice_roll(&x->dice) >> 1, h->path, &h->offset))
        return false;
    h->hash = ml_image_hash_frames(x->image, h->durable);
    h->bit = (uint8_t)(1u << ml_dice_below(&x->dice, 8));
    ml_disk_sim_content(x->image, h->path, &size)[h->offset] ^= h->bit;
    x->figures->damaged++;
    snprintf(x->fate, sizeof x->fate, "all%s, bit %u of %s:%" PRIu64,
             lose_mark ? " but the WATERMARK" : "", (unsigned)h->bit, h->path, h->offset);
    return true;
}

static bool read_harmed(explorer *x, const harm *h)
{
    ml_options options = ml_play_options(x->workload);
    ml_stats stats = {0};
    ml_code code;
    size_t given = 0, lost = 0;
    bool good = true;
    ml_store *store = ml_play_open(x->image, &options, &code);
    if (!code) code = ml_get_stats(store, &stats);
    if (code)
        good = say(x, "CORRUPT-AS-REFUSED: opening a damaged store gives ", ml_why(store));
    else if (!ml_model_check_damaged(&x->play.model, store, &given, &lost))
        good = say(x, "DAMAGED: ", x->play.model.why);
    else if (!stats.damaged && given + lost < h->count)
        good = say(x, "CORRUPT-AS-TORN: ", "damage below what was durable was cut off");
    ML_IGNORE(ml_close(store)); /* the image is thrown away */
    return good;
}

static void damage(explorer *x, const ml_disk *disk)
{
    harm h;
    uint64_t size;
    if (!do_harm(x, disk, &h) || !read_harmed(x, &h)) return;
    uint8_t *content = ml_disk_sim_content(x->image, h.path, &size);
    if (content != NULL && h.offset < size) {
        content[h.offset] ^= h.bit;
        if (ml_image_hash_frames(x->image, h.durable) == h.hash) return;
    }
    say(x, "CORRUPT-AS-TORN: ", "bytes that were durable are gone after opening a damaged store");
}

/* ---- a play ------------------------------------------------------------------------- */

static void cut_power(explorer *x, const ml_disk *disk)
{
    uint64_t kept[WORDS];
    for (size_t n = 0; n < WORDS; n++)
        kept[n] = ml_dice_roll(&x->dice);
    ml_disk_sim_fate fate = {
        kept, ml_dice_below(&x->dice, (uint32_t)ml_disk_sim_pending(disk).dir_ops + 1)};
    ml_code code = ml_disk_sim_crash(disk, &fate, &x->play.cut, NULL);
    ML_ASSERT(code == ML_OK);
    x->play.cut_count = x->play.model.count;
    x->play.cut_durable = x->play.model.durable;
    x->cut_at =
        ++x->cuts < CUTS_MAX ? x->op + 1 + ml_dice_below(&x->dice, x->cuts == 1 ? 8 : 60) : 0;
}

static void on_op(void *context, ml_disk *disk, enum ml_disk_op call)
{
    explorer *x = context;
    if (x->wrong || x->play.wrong || x->play.cut != NULL) return;
    x->op++;
    x->call = call;
    x->figures->ops++;
    x->dice = (ml_dice){x->seed * 1000003 + x->op}; /* so that one call can be replayed alone */
    bool here = x->options->op == 0 || x->options->op == x->op;
    if (here && x->options->fate != NULL)
        visit_one(x, disk);
    else if (here)
        visit_all(x, disk);
    /* While a store is being opened, what a crash made durable is not known to its files yet. */
    bool hurt = here && x->play.store != NULL && x->op % DAMAGE_EVERY == 0;
    for (unsigned n = 0; hurt && !x->wrong && n < DAMAGE_FLIPS; n++)
        damage(x, disk);
    if (x->op == x->cut_at && !x->wrong) cut_power(x, disk);
}

static ml_disk *new_disk(uint64_t seed)
{
    ml_disk *disk = NULL;
    ml_disk_sim_options options = {
        .files = 64, .file_bytes = 1 << 18, .seed = seed, .lazy_shrink = seed % 2};
    ml_code code = ml_disk_sim_new(&options, &disk, NULL);
    ML_ASSERT(code == ML_OK);
    return disk;
}

static void tell(const explorer *x)
{
    const char *why = x->wrong ? x->why : x->play.why;
    printf("simulate: FAILED: workload %s, seed %" PRIu64 ", step %u, call %" PRIu64
           " (%s)%s%s: %s\n",
           x->workload->name, x->seed, x->play.step, x->op, ml_disk_op_name(x->call),
           x->wrong ? ", fate " : "", x->wrong ? x->fate : "", why);
    printf("again: crash simulate --workload %s --seed %" PRIu64, x->workload->name, x->seed);
    if (x->wrong) printf(" --op %" PRIu64, x->op);
    if (x->broken != NULL) printf(" --fate %s", x->fate);
    printf("\n");
}

static bool play(explorer *x)
{
    x->op = 0;
    x->cuts = 0;
    x->dice = (ml_dice){x->seed};
    x->cut_at = x->workload->cuts ? 5 + ml_dice_below(&x->dice, 120) : 0;
    ml_disk *disk = new_disk(x->seed);
    x->play = (ml_play){.workload = x->workload,
                        .disk = disk,
                        .under = disk,
                        .dice = {x->seed},
                        .hook = on_op,
                        .hook_context = x};
    ml_play_run(&x->play);
    x->figures->plays++;
    bool good = !x->wrong && !x->play.wrong;
    if (!good) tell(x);
    ml_play_free(&x->play);
    ml_disk_free(disk);
    if (x->seen.slots != NULL) memset(x->seen.slots, 0, x->seen.capacity * sizeof *x->seen.slots);
    x->seen.count = 0;
    return good;
}

static bool play_round(const ml_crash_options *options, uint64_t seed, figures *f)
{
    explorer *x = calloc(1, sizeof *x);
    ML_ASSERT(x != NULL);
    x->image = new_disk(seed);
    bool good = true;
    for (size_t n = 0; good && n < ml_workload_count; n++) {
        if (options->workload != NULL && strcmp(options->workload, ml_workloads[n].name) != 0)
            continue;
        *x = (explorer){.options = options,
                        .workload = &ml_workloads[n],
                        .figures = f,
                        .seed = seed,
                        .image = x->image,
                        .seen = x->seen};
        good = play(x);
    }
    free(x->seen.slots);
    ml_disk_free(x->image);
    free(x);
    return good;
}

bool ml_simulate(const ml_crash_options *options)
{
    figures f = {0};
    uint64_t seed = options->seed;
    do {
        if (!play_round(options, seed++, &f)) return false;
    } while (f.distinct < options->states);
    printf("simulate: %s states (%s distinct images) after %s disk calls of %s plays; 0 lost "
           "acknowledgements, "
           "0 torn appends, 0 torn-as-corrupt, 0 corrupt-as-torn of %s damaged; %s read by index, "
           "%s recovered "
           "again: 0 unequal; seeds %" PRIu64 " to %" PRIu64 "\n",
           ml_crash_number(f.states), ml_crash_number(f.distinct), ml_crash_number(f.ops),
           ml_crash_number(f.plays), ml_crash_number(f.damaged), ml_crash_number(f.indexed),
           ml_crash_number(f.again), options->seed, seed - 1);
    return true;
}
