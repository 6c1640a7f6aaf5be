/* view_check.c -- reads a view's file whole before LMDB does.
 *
 * LMDB trusts its tree: a wrong page number sends it anywhere, and a page that is in use and on
 * the list of free ones too is overwritten one day. So first the tree is walked here: every page
 * is used once or free once, every node lies in its page, every key between its neighbours. On
 * the way the rows, entries and changes are held against their checksums and against the record.
 *
 * LMDB's file (format 1, as written on machines of 64 bits, little-endian):
 *
 *     page     0 number   8 pad   10 flags   12 lower   14 upper    (overflow: 12 pages)
 *              16 offsets of nodes, two bytes each, to `lower`; nodes from `upper` to the end
 *     node     0 size, or page below (6 bytes)   4 flags   6 size of key   8 key, value
 *     meta     pages 0 and 1, at 16: 0 magic   4 version   24 free   72 main   120 last   128 txn
 *     tree     0 pad (of `free`: bytes of a page)   4 flags   6 depth   8 branches   16 leaves
 *              24 overflow   32 entries   40 root
 */
#include <stdlib.h>

#include "../base/crc32c.h"
#include "inside.h"

enum {
    PAGE_HEAD = 16,
    NODE_HEAD = 8,
    META_BYTES = 136,
    TREE_BYTES = 48,
    META_FREE = 24,
    META_MAIN = 72,
    META_LAST = 120,
    META_TXN = 128,
    IS_BRANCH = 1,
    IS_LEAF = 2,
    IS_OVERFLOW = 4,
    IS_META = 8,
    NODE_BIG = 1,  /* the value is on pages of its own */
    NODE_TREE = 2, /* the value is a tree */
    DEPTH_MAX = 32,
    VERSION = 1,
    KEY_MAX = 511
};
static const uint32_t magic = 0xbeefc0de;
static const uint64_t no_page = UINT64_MAX;

typedef struct tree {
    uint16_t flags, depth;
    uint64_t branches, leaves, overflow, entries, root;
} tree;

typedef struct check {
    const char *dir;
    const uint8_t *map;
    uint64_t size, page_size, pages, txn;
    uint8_t *used; /* a bit for each page */
    tree main, rows, entries, changed;
    ml_view_record record;
    bool recorded;
    ml_bytes paths[ML_VIEW_INDEXES_MAX];
    size_t path_count;
    uint64_t digest[2];         /* of the rows */
    uint64_t wanted[2], had[2]; /* of entries: as the rows have it; as there are */
    uint64_t wanted_count;
    uint64_t free_pages, last_freed;
    ml_buf scratch, value;
    ml_bytes last_change;
    uint32_t lists; /* crc32c of the lists of changes */
    ml_error *why;
} check;

#define DAMAGED(c, ...) ml_view_corrupt((c)->dir, (c)->why, __VA_ARGS__)

/* ---- pages ------------------------------------------------------------------------------ */

static ml_code use(check *c, uint64_t page)
{
    if (page < 2 || page >= c->pages)
        return DAMAGED(c, "page %llu is not there", (unsigned long long)page);
    uint8_t bit = (uint8_t)(1 << (page & 7));
    if (c->used[page >> 3] & bit)
        return DAMAGED(c, "page %llu is used twice", (unsigned long long)page);
    c->used[page >> 3] |= bit;
    return ML_OK;
}

/* The page, which is used from now on; it has to be of that kind. */
static ml_code take_page(check *c, uint64_t number, unsigned kind, const uint8_t **page)
{
    ml_code code = use(c, number);
    if (code) return code;
    if ((number + 1) * c->page_size > c->size)
        return DAMAGED(c, "the file ends before page %llu", (unsigned long long)number);
    *page = c->map + number * c->page_size;
    if (ml_get_u64(*page) != number || ml_get_u16(*page + 10) != kind)
        return DAMAGED(c, "page %llu is not what it should be", (unsigned long long)number);
    return ML_OK;
}

typedef struct node {
    ml_bytes key;
    uint64_t below; /* of a branch */
    uint32_t size;  /* of a leaf's value */
    uint16_t flags;
    const uint8_t *value;
} node;

static ml_code refuse_node(check *c, const uint8_t *page)
{
    return DAMAGED(c, "page %llu has a node that is not in it",
                   (unsigned long long)ml_get_u64(page));
}

/* Reads node `n`; adds to `*filled` the bytes that it takes. */
static ml_code take_node(check *c, const uint8_t *page, size_t n, bool leaf, node *found,
                         size_t *filled)
{
    size_t at = ml_get_u16(page + PAGE_HEAD + 2 * n);
    if (at < ml_get_u16(page + 14) || at + NODE_HEAD > c->page_size) return refuse_node(c, page);
    const uint8_t *head = page + at;
    uint16_t key_size = ml_get_u16(head + 6);
    *found = (node){.key = {head + NODE_HEAD, key_size},
                    .flags = ml_get_u16(head + 4),
                    .size = ml_get_u32(head)};
    found->below = found->size | (uint64_t)found->flags << 32;
    found->value = head + NODE_HEAD + key_size;
    size_t value = !leaf ? 0 : found->flags & NODE_BIG ? sizeof(uint64_t) : found->size;
    size_t whole = NODE_HEAD + key_size + value;
    if (value > c->page_size || at + whole > c->page_size || key_size > KEY_MAX)
        return refuse_node(c, page);
    *filled += (whole + 1) & ~(size_t)1;
    return ML_OK;
}

/* A value that is on pages of its own. */
static ml_code take_overflow(check *c, node *found, tree *counted)
{
    const uint8_t *page;
    uint64_t first = ml_get_u64(found->value);
    ml_code code = take_page(c, first, IS_OVERFLOW, &page);
    if (code) return code;
    uint64_t pages = ml_get_u32(page + 12);
    if (pages * c->page_size < PAGE_HEAD + (uint64_t)found->size ||
        (first + pages) * c->page_size > c->size)
        return DAMAGED(c, "the value at page %llu ends early", (unsigned long long)first);
    for (uint64_t n = 1; n < pages && !code; n++)
        code = use(c, first + n);
    counted->overflow += pages;
    found->value = page + PAGE_HEAD;
    return code;
}

/* ---- trees ------------------------------------------------------------------------------ */

typedef struct walk {
    check *c;
    int (*compare)(ml_bytes a, ml_bytes b);
    ml_code (*each)(check *c, ml_bytes key, ml_bytes value, uint16_t flags);
    uint16_t depth;
    tree counted;
} walk;

static int compare_bytes(ml_bytes a, ml_bytes b)
{
    size_t least = a.size < b.size ? a.size : b.size;
    int order = least > 0 ? memcmp(a.data, b.data, least) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_numbers(ml_bytes a, ml_bytes b)
{
    uint64_t left = a.size == 8 ? ml_get_u64(a.data) : 0,
             right = b.size == 8 ? ml_get_u64(b.data) : 0;
    return (left > right) - (left < right);
}

static ml_code walk_page(walk *w, uint64_t number, uint16_t depth, ml_bytes low, ml_bytes high);

/* The key is at or above `low`, below `high`, and above the one before it in its page. */
static ml_code check_order(const walk *w, ml_bytes key, ml_bytes low, ml_bytes high,
                           ml_bytes before)
{
    if ((low.data == NULL || w->compare(key, low) >= 0) &&
        (high.data == NULL || w->compare(key, high) < 0) &&
        (before.data == NULL || w->compare(key, before) > 0))
        return ML_OK;
    return DAMAGED(w->c, "its keys are out of order");
}

static ml_code walk_leaf(walk *w, const uint8_t *page, size_t nodes, ml_bytes low, ml_bytes high,
                         size_t *filled)
{
    ml_bytes before = {0};
    for (size_t n = 0; n < nodes; n++) {
        node found;
        ml_code code = take_node(w->c, page, n, true, &found, filled);
        if (!code) code = check_order(w, found.key, low, high, before);
        if (!code && found.flags & NODE_BIG) code = take_overflow(w->c, &found, &w->counted);
        if (!code)
            code = w->each(w->c, found.key, (ml_bytes){found.value, found.size},
                           (uint16_t)(found.flags & ~NODE_BIG));
        if (code) return code;
        before = found.key;
    }
    w->counted.leaves++;
    w->counted.entries += nodes;
    return ML_OK;
}

/* The first node's key counts for nothing: it is below everything. */
static ml_code walk_branch(walk *w, const uint8_t *page, size_t nodes, uint16_t depth, ml_bytes low,
                           ml_bytes high, size_t *filled)
{
    node next, found;
    ml_bytes before = {0};
    ml_code code = nodes < 2 ? DAMAGED(w->c, "a branch leads nowhere")
                             : take_node(w->c, page, 0, false, &next, filled);
    for (size_t n = 0; n < nodes && !code; n++) {
        found = next;
        bool last = n + 1 == nodes;
        if (!last) {
            code = take_node(w->c, page, n + 1, false, &next, filled);
            if (!code) code = check_order(w, next.key, low, high, before);
            before = next.key;
        }
        if (!code)
            code =
                walk_page(w, found.below, depth, n == 0 ? low : found.key, last ? high : next.key);
    }
    w->counted.branches++;
    return code;
}

static ml_code walk_page(walk *w, uint64_t number, uint16_t depth, ml_bytes low, ml_bytes high)
{
    const uint8_t *page;
    bool leaf = depth + 1 == w->depth;
    size_t filled = 0;
    ml_code code = take_page(w->c, number, leaf ? IS_LEAF : IS_BRANCH, &page);
    if (code) return code;
    size_t lower = ml_get_u16(page + 12), upper = ml_get_u16(page + 14),
           nodes = (lower - PAGE_HEAD) / 2;
    if (lower < PAGE_HEAD || lower > upper || upper > w->c->page_size || lower % 2 != 0)
        return DAMAGED(w->c, "the head of page %llu is wrong", (unsigned long long)number);
    code = leaf ? walk_leaf(w, page, nodes, low, high, &filled)
                : walk_branch(w, page, nodes, (uint16_t)(depth + 1), low, high, &filled);
    if (code || filled == w->c->page_size - upper) return code;
    return DAMAGED(w->c, "page %llu has nodes that overlap", (unsigned long long)number);
}

static tree read_tree(const uint8_t *at)
{
    return (tree){ml_get_u16(at + 4),  ml_get_u16(at + 6),  ml_get_u64(at + 8), ml_get_u64(at + 16),
                  ml_get_u64(at + 24), ml_get_u64(at + 32), ml_get_u64(at + 40)};
}

static ml_code walk_tree(check *c, const tree *t, int (*compare)(ml_bytes a, ml_bytes b),
                         ml_code (*each)(check *c, ml_bytes key, ml_bytes value, uint16_t flags))
{
    walk w = {.c = c, .compare = compare, .each = each, .depth = t->depth};
    ml_code code = ML_OK;
    if (t->depth > DEPTH_MAX || (t->depth == 0) != (t->root == no_page))
        return DAMAGED(c, "one of its trees has no root");
    if (t->depth > 0) code = walk_page(&w, t->root, 0, (ml_bytes){0}, (ml_bytes){0});
    if (code) return code;
    if (w.counted.branches == t->branches && w.counted.leaves == t->leaves &&
        w.counted.overflow == t->overflow && w.counted.entries == t->entries)
        return ML_OK;
    return DAMAGED(c, "one of its trees has not as many pages or entries as it says");
}

/* ---- what is in them -------------------------------------------------------------------- */

static ml_code check_free(check *c, ml_bytes key, ml_bytes value, uint16_t flags)
{
    const uint8_t *at = value.data;
    uint64_t last = UINT64_MAX, count = value.size >= 8 ? ml_get_u64(at) : 0;
    if (key.size != 8 || flags != 0 || value.size < 8 || count > value.size / 8 - 1 ||
        ml_get_u64(key.data) > c->txn)
        return DAMAGED(c, "its list of free pages is wrong");
    for (uint64_t n = 1; n <= count; n++) {
        uint64_t page = ml_get_u64(at + 8 * n);
        if (page >= last) return DAMAGED(c, "its list of free pages is out of order");
        ml_code code = use(c, page);
        if (code) return code;
        last = page;
    }
    c->free_pages += count;
    return ML_OK;
}

static ml_code check_main(check *c, ml_bytes key, ml_bytes value, uint16_t flags)
{
    ml_error what;
    if (ml_bytes_equal(key, ML_VIEW_RECORD_KEY) && flags == 0) {
        ml_code code = ml_view_record_read(value, &c->record, &what);
        c->recorded = true;
        if (code == ML_CORRUPT) return DAMAGED(c, "%.200s", what.sentence);
        return code ? ml_error_set(c->why, code, "the view in %.600s cannot be read: %.200s",
                                   c->dir, what.sentence)
                    : ML_OK;
    }
    tree *into = ml_bytes_equal(key, ML_STR("rows"))      ? &c->rows
                 : ml_bytes_equal(key, ML_STR("entries")) ? &c->entries
                 : ml_bytes_equal(key, ML_STR("changed")) ? &c->changed
                                                          : NULL;
    if (into == NULL || flags != NODE_TREE || value.size != TREE_BYTES)
        return DAMAGED(c, "it holds a table that is not a view's");
    *into = read_tree(value.data);
    if (into->flags != 0) return DAMAGED(c, "one of its tables is of another kind");
    return ML_OK;
}

static ml_code want_entries(check *c, ml_bytes key, ml_bytes row, int64_t expires)
{
    ml_view_entry entry;
    for (int n = -1; n < (int)c->path_count; n++) {
        if (!ml_view_entry_make(c->paths, n, key, row, expires, &entry)) continue;
        ml_bytes made = {entry.bytes, entry.size}, nothing = {entry.bytes + entry.size, 0};
        if (!ml_view_row_digest(made, nothing, true, c->wanted, &c->scratch))
            return ml_error_memory(c->why, "checking a view");
        c->wanted_count++;
    }
    return ML_OK;
}

static bool is_key(check *c, ml_bytes key)
{
    bool windowed;
    int64_t start, end;
    ml_buf_clear(&c->value);
    return ml_key_pack(key, &c->value, &windowed, &start, &end);
}

static ml_code check_row(check *c, ml_bytes key, ml_bytes value, uint16_t flags)
{
    ml_bytes row;
    int64_t expires;
    if (flags != 0 || !is_key(c, key)) return DAMAGED(c, "a key is none");
    if (!ml_view_row_read(key, value, &row, &expires))
        return DAMAGED(c, "the checksum of a row is wrong");
    if (!ml_view_row_digest(key, row, true, c->digest, &c->scratch))
        return ml_error_memory(c->why, "checking a view");
    return want_entries(c, key, row, expires);
}

static ml_code check_entry(check *c, ml_bytes key, ml_bytes value, uint16_t flags)
{
    if (flags != 0 || value.size != 0) return DAMAGED(c, "an entry of an index is wrong");
    ml_bytes nothing = {(const uint8_t *)key.data + key.size, 0};
    return ml_view_row_digest(key, nothing, true, c->had, &c->scratch)
               ? ML_OK
               : ml_error_memory(c->why, "checking a view");
}

static ml_code check_change(check *c, ml_bytes key, ml_bytes value, uint16_t flags)
{
    const uint8_t *at = value.data, *end = at + value.size;
    if (key.size != 4 || flags != 0) return DAMAGED(c, "its list of changes is wrong");
    c->lists = ml_crc32c(c->lists, value.data, value.size);
    while (at < end) {
        ml_bytes changed = {at + 1, *at};
        if ((size_t)(end - at) <= changed.size || !is_key(c, changed) ||
            (c->last_change.size > 0 && compare_bytes(changed, c->last_change) <= 0))
            return DAMAGED(c, "its list of changes is wrong");
        c->last_change = changed;
        at += 1 + changed.size;
    }
    return ML_OK;
}

/* ---- all of it -------------------------------------------------------------------------- */

static bool is_meta(const check *c, uint64_t number)
{
    const uint8_t *page = c->map + number * c->page_size, *at = page + PAGE_HEAD;
    return ml_get_u64(page) == number && ml_get_u16(page + 10) == IS_META &&
           ml_get_u32(at) == magic && ml_get_u32(at + 4) == VERSION &&
           ml_get_u32(at + META_FREE) == c->page_size;
}

/* Transactions are written to the two meta pages by turns; the later one counts, as with LMDB. */
static ml_code choose_meta(check *c, const uint8_t **meta)
{
    for (uint64_t n = 0; n < 2; n++)
        if (!is_meta(c, n)) return DAMAGED(c, "page %d is wrong", (int)n);
    const uint8_t *first = c->map + PAGE_HEAD, *second = first + c->page_size;
    uint64_t even = ml_get_u64(first + META_TXN), odd = ml_get_u64(second + META_TXN);
    if (even % 2 != 0 || odd % 2 != 1 || (even + 1 != odd && odd + 1 != even))
        return DAMAGED(c, "its first two pages are not of one time");
    *meta = even > odd ? first : second;
    c->txn = even > odd ? even : odd;
    return ML_OK;
}

static ml_code read_meta(check *c, tree *free_pages)
{
    const uint8_t *meta = NULL;
    if (c->size < PAGE_HEAD + META_BYTES) return DAMAGED(c, "the file ends early");
    c->page_size = ml_get_u32(c->map + PAGE_HEAD + META_FREE);
    if (c->page_size < 512 || c->page_size > 65536 || (c->page_size & (c->page_size - 1)) != 0 ||
        c->size < 2 * c->page_size)
        return DAMAGED(c, "its first page is wrong");
    ml_code code = choose_meta(c, &meta);
    if (code) return code;
    c->pages = ml_get_u64(meta + META_LAST) + 1;
    *free_pages = read_tree(meta + META_FREE);
    c->main = read_tree(meta + META_MAIN);
    if (c->pages < 2 || c->pages > ML_VIEW_MAP_BYTES / c->page_size ||
        free_pages->flags != MDB_INTEGERKEY || c->main.flags != 0)
        return DAMAGED(c, "its newest page of roots is wrong");
    return ML_OK;
}

static ml_code check_trees(check *c, const tree *free_pages)
{
    ml_code code = walk_tree(c, &c->main, compare_bytes, check_main);
    if (!code && !c->recorded) code = DAMAGED(c, "it has no record of what it holds");
    if (code) return code;
    c->path_count = ml_view_record_paths(c->record.about, c->paths);
    code = walk_tree(c, &c->rows, compare_bytes, check_row);
    if (!code) code = walk_tree(c, &c->entries, compare_bytes, check_entry);
    if (!code) code = walk_tree(c, &c->changed, compare_bytes, check_change);
    return code ? code : walk_tree(c, free_pages, compare_numbers, check_free);
}

static ml_code check_sums(check *c)
{
    const ml_view_record *record = &c->record;
    uint64_t pages = 2;
    for (uint64_t n = 0; n < (c->pages + 7) / 8; n++)
        pages += (uint64_t)__builtin_popcount(c->used[n]);
    if (record->txn != c->txn) return DAMAGED(c, "its record is of another commit");
    if (pages != c->pages) return DAMAGED(c, "some of its pages are neither used nor free");
    if (record->changed != c->lists) return DAMAGED(c, "its list of changes is wrong");
    if (record->rows != c->rows.entries) return DAMAGED(c, "rows are missing");
    if (memcmp(record->digest, c->digest, sizeof c->digest) != 0)
        return DAMAGED(c, "its rows are not those of its digest");
    if (record->entries != c->entries.entries || record->entries != c->wanted_count ||
        memcmp(c->wanted, c->had, sizeof c->had) != 0)
        return DAMAGED(c, "an index is not in step with its rows");
    return ML_OK;
}

static ml_code check_map(check *c)
{
    tree free_pages;
    ml_code code = read_meta(c, &free_pages);
    if (code) return code;
    c->used = calloc((size_t)(c->pages + 7) / 8, 1);
    if (c->used == NULL) return ml_error_memory(c->why, "checking a view");
    code = check_trees(c, &free_pages);
    return code ? code : check_sums(c);
}

ml_code ml_view_check(ml_disk *disk, ml_error *why)
{
    int file;
    check c = {.dir = disk->root,
               .why = why,
               .rows.root = no_page,
               .entries.root = no_page,
               .changed.root = no_page};
    ml_code code = ml_disk_open(disk, "data.mdb", ML_DISK_READ, &file, why);
    if (code) return code;
    code = ml_disk_size(disk, file, "data.mdb", &c.size, why);
    if (!code && c.size == 0) code = DAMAGED(&c, "the file is empty");
    if (!code) {
        int result = disk->ops->map(disk, file, c.size, &c.map);
        code = result == 0 ? check_map(&c) : ml_error_disk(why, result, "map", disk->root);
        if (result == 0) disk->ops->unmap(disk, c.map, c.size);
    }
    ML_IGNORE(disk->ops->close(disk, file) < 0); /* it was only read */
    free(c.used);
    ml_buf_free(&c.scratch);
    ml_buf_free(&c.value);
    return code;
}
