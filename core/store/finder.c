/* finder.c -- leaping through index lists; see finder.h. */
#include "finder.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../base/unpack.h"

/* An item of the query, as lists. */
typedef struct item {
    ml_query_item names;       /* copies, for ml_finder_matches */
    uint64_t *keys;            /* of the tags, then of the types */
    ml_postings **all, **any;  /* all: stream or category, and tags; any: types */
    size_t all_count, any_count;
    uint64_t candidate;        /* where the item stands; valid unless ended */
    bool ended;
} item;

struct ml_finder {
    ml_store *store;
    ml_bytes stream, category;
    bool system;
    uint64_t seed; /* that the keys were made with */
    uint64_t base; /* key of stream or category */
    bool has_base;
    size_t query_count; /* items of the query; `items` holds one at least */
    item *items;
    size_t count;
    ml_postings *postings; /* room for all lists */
    size_t postings_count;
    char *names;           /* copies of all names, one after the other */
};

/* ---- making ---------------------------------------------------------------------------------- */

static size_t names_size(const ml_selection *selection)
{
    size_t size = selection->stream.size + selection->category.size;
    for (size_t n = 0; n < selection->query.count; n++) {
        const ml_query_item *from = &selection->query.items[n];
        for (size_t i = 0; i < from->type_count; i++) size += from->types[i].size;
        for (size_t i = 0; i < from->tag_count; i++) size += from->tags[i].size;
    }
    return size;
}

static ml_code check_query(const ml_query *query, ml_error *why)
{
    size_t terms = 0;
    if (query->count > ML_QUERY_ITEMS_MAX)
        return ml_error_set(why, ML_TOO_LARGE, "the query has %zu items, the limit is %d", query->count,
                            ML_QUERY_ITEMS_MAX);
    for (size_t n = 0; n < query->count; n++) {
        const ml_query_item *from = &query->items[n];
        ml_code code = ML_OK;
        terms += from->type_count + from->tag_count;
        for (size_t i = 0; !code && i < from->type_count; i++)
            code = ml_event_check_name(from->types[i], ML_TYPE_BYTES_MAX, "type in the query", why);
        for (size_t i = 0; !code && i < from->tag_count; i++)
            code = ml_event_check_name(from->tags[i], ML_TAG_BYTES_MAX, "tag in the query", why);
        if (code) return code;
    }
    if (terms > ML_QUERY_TERMS_MAX)
        return ml_error_set(why, ML_TOO_LARGE, "the query names %zu types and tags, the limit is %d", terms,
                            ML_QUERY_TERMS_MAX);
    return ML_OK;
}

static ml_code check_selection(const ml_selection *selection, ml_error *why)
{
    if (selection->stream.size > 0 && selection->category.size > 0)
        return ml_error_set(why, ML_BAD_REQUEST, "stream and category are both given; give one");
    ml_code code = ML_OK;
    if (selection->stream.size > 0)
        code = ml_event_check_name(selection->stream, ML_STREAM_BYTES_MAX, "stream", why);
    if (!code && selection->category.size > 0)
        code = ml_event_check_name(selection->category, ML_STREAM_BYTES_MAX, "category", why);
    return code ? code : check_query(&selection->query, why);
}

static ml_bytes keep(char **names, ml_bytes name)
{
    ml_bytes kept = {*names, name.size};
    if (name.size > 0) memcpy(*names, name.data, name.size);
    *names += name.size;
    return kept;
}

/* Copies one item: names into `names`, and gives it room for keys and lists. */
static bool make_item(ml_finder *finder, item *to, const ml_query_item *from, char **names)
{
    size_t terms = from->tag_count + from->type_count;
    ml_bytes *copies = malloc((terms + 1) * sizeof *copies);
    to->names = (ml_query_item){copies != NULL ? copies + from->tag_count : NULL, from->type_count, copies,
                                from->tag_count};
    to->keys = malloc((terms + 1) * sizeof *to->keys);
    to->all = malloc((terms + 1) * sizeof *to->all);
    if (copies == NULL || to->keys == NULL || to->all == NULL) return false;
    to->any = to->all + from->tag_count + 1;
    for (size_t n = 0; n < from->tag_count; n++) copies[n] = keep(names, from->tags[n]);
    for (size_t n = 0; n < from->type_count; n++)
        copies[from->tag_count + n] = keep(names, from->types[n]);
    finder->postings_count += terms + (finder->has_base ? 1 : 0);
    return true;
}

/* Makes the keys. A reader that was there before the first segment learns the seed with it,
 * when subscriptions are there already. */
static void make_keys(ml_finder *finder)
{
    uint64_t seed = finder->seed = finder->store->seed;
    if (finder->stream.size > 0) finder->base = ml_key_of(seed, ML_KEY_STREAM, finder->stream);
    else if (finder->category.size > 0)
        finder->base = ml_key_of(seed, ML_KEY_CATEGORY, finder->category);
    for (size_t n = 0; n < finder->count; n++) {
        const item *of = &finder->items[n];
        size_t tags = of->names.tag_count;
        for (size_t i = 0; i < tags; i++) of->keys[i] = ml_key_of(seed, ML_KEY_TAG, of->names.tags[i]);
        for (size_t i = 0; i < of->names.type_count; i++)
            of->keys[tags + i] = ml_key_of(seed, ML_KEY_TYPE, of->names.types[i]);
    }
}

static bool fill(ml_finder *finder, const ml_selection *selection)
{
    static const ml_query_item everything;
    char *names = finder->names;
    finder->stream = keep(&names, selection->stream);
    finder->category = keep(&names, selection->category);
    finder->system = selection->system;
    finder->has_base = selection->stream.size + selection->category.size > 0;
    for (size_t n = 0; n < finder->count; n++) {
        const ml_query_item *from = finder->query_count > 0 ? &selection->query.items[n] : &everything;
        if (!make_item(finder, &finder->items[n], from, &names)) return false;
    }
    finder->postings = malloc((finder->postings_count + 1) * sizeof *finder->postings);
    make_keys(finder);
    return finder->postings != NULL;
}

ml_code ml_finder_new(ml_store *store, const ml_selection *selection, ml_finder **out, ml_error *why)
{
    *out = NULL;
    ml_code code = check_selection(selection, why);
    if (code) return code;
    ml_finder *finder = calloc(1, sizeof *finder);
    if (finder == NULL) return ml_error_memory(why, "a read");
    finder->store = store;
    finder->query_count = selection->query.count;
    finder->count = finder->query_count > 0 ? finder->query_count : 1;
    finder->names = malloc(names_size(selection) + 1);
    finder->items = calloc(finder->count, sizeof *finder->items);
    if (finder->names == NULL || finder->items == NULL || !fill(finder, selection)) {
        ml_finder_free(finder);
        return ml_error_memory(why, "a read");
    }
    *out = finder;
    return ML_OK;
}

void ml_finder_free(ml_finder *finder)
{
    if (finder == NULL) return;
    for (size_t n = 0; finder->items != NULL && n < finder->count; n++) {
        free((void *)(uintptr_t)finder->items[n].names.tags);
        free(finder->items[n].keys);
        free(finder->items[n].all);
    }
    free(finder->items);
    free(finder->postings);
    free(finder->names);
    free(finder);
}

/* ---- matching ---------------------------------------------------------------------------------- */

static bool has_tag(const ml_event *event, ml_bytes wanted)
{
    ml_unpack tags = ml_unpack_from(event->tags);
    uint32_t count;
    if (!ml_unpack_array(&tags, &count)) return false;
    for (uint32_t n = 0; n < count; n++) {
        ml_bytes tag;
        if (!ml_unpack_str(&tags, &tag)) return false;
        if (ml_bytes_equal(tag, wanted)) return true;
    }
    return false;
}

static bool item_matches(const ml_query_item *names, const ml_event *event)
{
    bool typed = names->type_count == 0;
    for (size_t n = 0; !typed && n < names->type_count; n++) typed = ml_bytes_equal(names->types[n], event->type);
    if (!typed) return false;
    for (size_t n = 0; n < names->tag_count; n++)
        if (!has_tag(event, names->tags[n])) return false;
    return true;
}

bool ml_finder_matches(const ml_finder *finder, const ml_event *event)
{
    if (finder->stream.size > 0) {
        if (!ml_bytes_equal(finder->stream, event->stream)) return false;
    } else if (finder->category.size > 0) {
        if (!ml_bytes_equal(finder->category, ml_event_category(event->stream))) return false;
    } else if (!finder->system && *(const char *)event->stream.data == '$') {
        return false;
    }
    if (finder->query_count == 0) return true;
    for (size_t n = 0; n < finder->query_count; n++)
        if (item_matches(&finder->items[n].names, event)) return true;
    return false;
}

/* ---- lists ---------------------------------------------------------------------------------------- */

/* Gathers the lists of an item; gives how many positions it promises at most. */
static uint64_t find_lists(ml_finder *finder, item *of, ml_postings **next, uint64_t from, uint64_t to)
{
    ml_index *index = finder->store->index;
    uint64_t least = UINT64_MAX, sum = 0;
    of->all_count = of->any_count = 0;
    for (size_t n = 0; n < of->names.tag_count + (finder->has_base ? 1 : 0); n++) {
        uint64_t key = n < of->names.tag_count ? of->keys[n] : finder->base;
        ml_postings_find(index, key, from, to, *next);
        if ((*next)->count < least) least = (*next)->count;
        of->all[of->all_count++] = (*next)++;
    }
    for (size_t n = 0; n < of->names.type_count; n++) {
        ml_postings_find(index, of->keys[of->names.tag_count + n], from, to, *next);
        sum += (*next)->count;
        of->any[of->any_count++] = (*next)++;
    }
    if (of->any_count > 0 && sum < least) least = sum;
    return least;
}

static bool damaged(const ml_finder *finder, size_t lists)
{
    for (size_t n = 0; n < lists; n++) {
        if (!finder->postings[n].damaged) continue;
        ml_index_note_damage(finder->store->index, &finder->postings[n]);
        return true;
    }
    return false;
}

static bool seek(ml_postings *list, uint64_t position, bool backward)
{
    return backward ? ml_postings_seek_back(list, position) : ml_postings_seek(list, position);
}

/* The nearest position of any of the types. */
static bool seek_any(item *of, uint64_t position, bool backward, uint64_t *nearest)
{
    bool found = false;
    for (size_t n = 0; n < of->any_count; n++) {
        if (!seek(of->any[n], position, backward)) continue;
        uint64_t at = of->any[n]->position;
        if (!found || (backward ? at > *nearest : at < *nearest)) *nearest = at;
        found = true;
    }
    return found;
}

/* Moves the item to its first position at or beyond `position`. */
static void leap(item *of, uint64_t position, bool backward)
{
    for (bool agreed = false; !agreed;) {
        agreed = true;
        for (size_t n = 0; n < of->all_count; n++) {
            if (!seek(of->all[n], position, backward)) {
                of->ended = true;
                return;
            }
            agreed = agreed && (n == 0 || of->all[n]->position == position);
            position = of->all[n]->position;
        }
        uint64_t nearest = position;
        if (of->any_count > 0 && !seek_any(of, position, backward, &nearest)) {
            of->ended = true;
            return;
        }
        agreed = agreed && (of->all_count == 0 || nearest == position);
        position = nearest;
    }
    of->candidate = position;
}

static bool before(uint64_t a, uint64_t b, bool backward) { return backward ? a > b : a < b; }

/* The nearest position of any item at or beyond `position`; items behind it move up. */
static bool nearest_of_all(ml_finder *finder, uint64_t position, bool backward, uint64_t *nearest)
{
    bool found = false;
    for (size_t n = 0; n < finder->count; n++) {
        item *of = &finder->items[n];
        if (!of->ended && before(of->candidate, position, backward)) leap(of, position, backward);
        if (of->ended) continue;
        if (!found || before(of->candidate, *nearest, backward)) *nearest = of->candidate;
        found = true;
    }
    return found;
}

/* ---- batches ---------------------------------------------------------------------------------------- */

static size_t count_on(uint64_t from, uint64_t to, bool backward, uint64_t *positions, size_t room)
{
    size_t count = 0;
    for (uint64_t left = to - from + 1; left > 0 && count < room; left--, count++)
        positions[count] = backward ? to - count : from + count;
    return count;
}

static size_t leap_on(ml_finder *finder, uint64_t from, uint64_t to, bool backward, uint64_t *positions,
                      size_t room)
{
    size_t count = 0;
    uint64_t at = backward ? to : from, found = 0;
    for (size_t n = 0; n < finder->count; n++) {
        finder->items[n].ended = false;
        leap(&finder->items[n], at, backward);
    }
    while (count < room && nearest_of_all(finder, at, backward, &found)) {
        if (found < from || found > to) break;
        positions[count++] = found;
        if (backward && found == 0) break;
        at = backward ? found - 1 : found + 1;
    }
    return count;
}

static bool selects_everything(const ml_finder *finder)
{
    if (finder->has_base) return false;
    for (size_t n = 0; n < finder->count; n++)
        if (finder->items[n].names.tag_count + finder->items[n].names.type_count == 0) return true;
    return false;
}

bool ml_finder_selective(const ml_finder *finder) { return !selects_everything(finder); }

ml_code ml_finder_batch(ml_finder *finder, uint64_t from, uint64_t to, bool backward, uint64_t *positions,
                        size_t room, size_t *count, ml_error *why)
{
    *count = 0;
    if (from > to) return ML_OK;
    if (selects_everything(finder)) {
        *count = count_on(from, to, backward, positions, room);
        return ML_OK;
    }
    if (finder->seed != finder->store->seed) make_keys(finder);
    /* A damaged run is dropped and made anew from the log; each can be found so only once. */
    for (int tries = 0; tries <= ML_INDEX_RUNS_MAX; tries++) {
        ml_postings *next = finder->postings;
        uint64_t promised = 0;
        for (size_t n = 0; n < finder->count; n++) {
            uint64_t some = find_lists(finder, &finder->items[n], &next, from, to);
            promised = promised + some < promised ? UINT64_MAX : promised + some;
        }
        size_t lists = (size_t)(next - finder->postings);
        if (!damaged(finder, lists)) {
            if (promised > to - from) *count = count_on(from, to, backward, positions, room);
            else *count = leap_on(finder, from, to, backward, positions, room);
        }
        if (!damaged(finder, lists)) return ML_OK;
        ml_code code = ml_store_repair_index(finder->store, why);
        if (code) return code;
    }
    return ml_error_set(why, ML_INTERNAL, "the index keeps being damaged");
}

/* ---- single questions ---------------------------------------------------------------------------------- */

/* Reads the event of a posting and says whether it is of the stream. */
static ml_code is_of(ml_store *store, uint64_t position, ml_bytes stream, bool *same, uint64_t *revision,
                     ml_error *why)
{
    ml_bytes record, name;
    ml_code code = ml_store_record(store, position, &record, why);
    if (code) return code;
    *same = ml_event_peek(record, revision, &name) && ml_bytes_equal(name, stream);
    return ML_OK;
}

ml_code ml_finder_last(ml_store *store, ml_bytes stream, uint64_t to, uint64_t *position,
                       uint64_t *revision, ml_error *why)
{
    uint64_t key = ml_key_of(store->seed, ML_KEY_STREAM, stream);
    ml_postings list;
    for (;;) {
        ml_postings_find(store->index, key, 1, to, &list);
        for (bool more = ml_postings_seek_back(&list, to); more; more = ml_postings_prev(&list)) {
            bool same;
            *position = list.position;
            list.damaged = list.position < 1 || list.position > to; /* a forged run says anything */
            if (list.damaged) break;
            ml_code code = is_of(store, list.position, stream, &same, revision, why);
            if (code || same) return code;
        }
        if (!list.damaged) break;
        ml_index_note_damage(store->index, &list);
        ml_code code = ml_store_repair_index(store, why);
        if (code) return code;
    }
    return ml_error_set(why, ML_NOT_FOUND, "there is no stream %.*s; `moonlog streams` lists those there are",
                        ML_SHOW(stream));
}

/* The n-th posting of a stream is its n-th revision, unless another stream shares the key:
 * then the list is walked from its beginning. */
static ml_code find_revision(ml_store *store, ml_postings *list, ml_bytes stream, uint64_t revision,
                             uint64_t to, uint64_t *position, ml_error *why)
{
    bool same = false;
    uint64_t found = 0;
    ml_code code = ML_OK;
    if (ml_postings_nth(list, revision) && list->position <= to) {
        *position = list->position;
        code = is_of(store, list->position, stream, &same, &found, why);
        if (code || (same && found == revision)) return code;
    }
    for (bool more = ml_postings_seek(list, 1); more && list->position <= to; more = ml_postings_next(list)) {
        *position = list->position;
        code = is_of(store, list->position, stream, &same, &found, why);
        if (code || (same && found == revision)) return code;
    }
    return ML_NOT_FOUND;
}

ml_code ml_finder_revision(ml_store *store, ml_bytes stream, uint64_t revision, uint64_t to,
                           uint64_t *position, ml_error *why)
{
    uint64_t key = ml_key_of(store->seed, ML_KEY_STREAM, stream);
    ml_postings list;
    for (;;) {
        ml_postings_find(store->index, key, 1, to, &list);
        ml_code code = find_revision(store, &list, stream, revision, to, position, why);
        if (code == ML_NOT_FOUND && !list.damaged)
            ml_error_set(why, code, "stream %.*s has no revision %" PRIu64, ML_SHOW(stream), revision);
        if (code != ML_NOT_FOUND || !list.damaged) return code;
        ml_index_note_damage(store->index, &list);
        code = ml_store_repair_index(store, why);
        if (code) return code;
    }
}

ml_code ml_finder_first(ml_store *store, const ml_query *query, uint64_t from, uint64_t to,
                        uint64_t *position, ml_error *why)
{
    enum { ROOM = 16 };
    uint64_t positions[ROOM];
    size_t count = ROOM;
    ml_finder *finder;
    ml_code code = ml_finder_new(store, &(ml_selection){.query = *query, .system = true}, &finder, why);
    bool found = false;
    while (!code && !found && count == ROOM && from <= to) {
        code = ml_finder_batch(finder, from, to, false, positions, ROOM, &count, why);
        for (size_t n = 0; !code && !found && n < count; n++) {
            ml_bytes record;
            ml_event event;
            code = ml_store_record(store, positions[n], &record, why);
            found = !code && ml_event_decode(record, &event) && ml_finder_matches(finder, &event);
            *position = positions[n];
        }
        if (count > 0) from = positions[count - 1] + 1;
    }
    ml_finder_free(finder);
    if (code) return code;
    return found ? ML_OK : ML_NOT_FOUND;
}
