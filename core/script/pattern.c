/* pattern.c -- a matcher of Lua patterns that counts what it does.
 *
 * `match` tries to match the rest of a pattern at a place of the text, and calls itself where
 * there is more than one way to go on: behind a capture's bracket, and for each length that an
 * item with a suffix may have. Everything else is the loop in `walk`.
 */
#include "pattern.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

#include "sandbox_inside.h"

enum {
    CAPTURES_MAX = 32, /* as in Lua */
    NESTED_MAX = 200,  /* as in Lua: calls of `match` in one another */
    STEPS_A_BYTE = 16, /* of the text, on top of ML_SANDBOX_PATTERN_STEPS */
    CHECK_STEPS = 1024 /* after so many the guard is asked: a power of two */
};

/* Sizes of captures that have none. */
enum { OPEN = -1, PLACE = -2 };

typedef struct capture {
    const char *at;
    ptrdiff_t size; /* or OPEN, or PLACE: "()" */
} capture;

typedef struct matching {
    lua_State *L;
    const char *text, *end;
    const char *pattern, *stop; /* *stop is '\0', as behind any string of Lua */
    uint64_t steps;             /* left */
    int nested, count;
    capture captures[CAPTURES_MAX];
} matching;

static const char *match(matching *m, const char *s, const char *p);

/* ---- bounds ----------------------------------------------------------------------------- */

static void step(matching *m)
{
    if (m->steps-- == 0)
        luaL_error(m->L, "pattern too complex: over %d steps; make it simpler, or the text shorter",
                   ML_SANDBOX_PATTERN_STEPS);
    if (m->steps % CHECK_STEPS == 0) ml_guard_check(m->L);
}

static matching begin(lua_State *L, ml_bytes text, ml_bytes pattern)
{
    if (pattern.size > ML_SANDBOX_PATTERN_BYTES)
        luaL_error(L, "a pattern of %I bytes is too long: %d is the most",
                   (LUAI_UACINT)pattern.size, ML_SANDBOX_PATTERN_BYTES);
    matching m = {.L = L, .text = text.data, .pattern = pattern.data};
    m.end = m.text + text.size;
    m.stop = m.pattern + pattern.size;
    return m;
}

/* Before each match. */
static void refill(matching *m)
{
    m->steps = ML_SANDBOX_PATTERN_STEPS + (uint64_t)(m->end - m->text) * STEPS_A_BYTE;
}

static const char *match_from(matching *m, const char *s, const char *p)
{
    m->nested = NESTED_MAX;
    m->count = 0;
    return match(m, s, p);
}

/* ---- single characters ------------------------------------------------------------------- */

static unsigned char byte(const char *at) { return (unsigned char)*at; }

/* Behind the one-character item that begins at p: a character, %x, or a set. */
static const char *item_end(const matching *m, const char *p)
{
    if (*p == '%') {
        if (p + 1 == m->stop) luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 2;
    }
    if (*p++ != '[') return p;
    if (*p == '^') p++;
    do { /* the first ']' is one of the set */
        if (p == m->stop) luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->stop) p++;
    } while (*p != ']');
    return p + 1;
}

/* %a, %d, …; a capital is all that the small letter is not; other characters are themselves. */
static bool in_class(int c, int letter)
{
    bool in;
    switch (tolower(letter)) {
    case 'a': in = isalpha(c); break;
    case 'c': in = iscntrl(c); break;
    case 'd': in = isdigit(c); break;
    case 'g': in = isgraph(c); break;
    case 'l': in = islower(c); break;
    case 'p': in = ispunct(c); break;
    case 's': in = isspace(c); break;
    case 'u': in = isupper(c); break;
    case 'w': in = isalnum(c); break;
    case 'x': in = isxdigit(c); break;
    case 'z': in = c == 0; break;
    default: return c == letter;
    }
    return in != (isupper(letter) != 0);
}

/* [set], which begins at p and ends before `end`. */
static bool in_set(int c, const char *p, const char *end)
{
    bool inside = p[1] != '^';
    const char *last = end - 1; /* its ']' */
    for (p += inside ? 1 : 2; p < last; p++) {
        if (*p == '%') {
            p++;
            if (in_class(c, byte(p))) return inside;
        } else if (p[1] == '-' && p + 2 < last) {
            if (byte(p) <= c && c <= byte(p + 2)) return inside;
            p += 2;
        } else if (byte(p) == c) {
            return inside;
        }
    }
    return !inside;
}

static bool accepts(matching *m, const char *s, const char *p, const char *end)
{
    step(m);
    if (s >= m->end) return false;
    switch (*p) {
    case '.': return true;
    case '%': return in_class(byte(s), byte(p + 1));
    case '[': return in_set(byte(s), p, end);
    default: return *p == *s;
    }
}

/* ---- captures --------------------------------------------------------------------------- */

static const char *open_capture(matching *m, const char *s, const char *p)
{
    bool place = p[1] == ')';
    if (m->count == CAPTURES_MAX) luaL_error(m->L, "too many captures");
    m->captures[m->count++] = (capture){s, place ? PLACE : OPEN};
    const char *found = match(m, s, p + (place ? 2 : 1));
    if (found == NULL) m->count--;
    return found;
}

static const char *close_capture(matching *m, const char *s, const char *p)
{
    int n = m->count - 1;
    while (n >= 0 && m->captures[n].size != OPEN) n--;
    if (n < 0) luaL_error(m->L, "invalid pattern capture");
    m->captures[n].size = s - m->captures[n].at;
    const char *found = match(m, s, p + 1);
    if (found == NULL) m->captures[n].size = OPEN;
    return found;
}

/* %1: what a capture held, again. */
static const char *repeat_capture(matching *m, const char *s, int digit)
{
    int n = digit - '1';
    if (n < 0 || n >= m->count || m->captures[n].size == OPEN)
        luaL_error(m->L, "invalid capture index %%%d", n + 1);
    capture held = m->captures[n];
    if (held.size == PLACE || m->end - s < held.size) return NULL;
    for (ptrdiff_t i = 0; i < held.size; i += CHECK_STEPS) step(m);
    return memcmp(held.at, s, (size_t)held.size) == 0 ? s + held.size : NULL;
}

/* ---- items of their own ----------------------------------------------------------------- */

/* %bxy */
static const char *balanced(matching *m, const char *s, const char *p)
{
    if (m->stop - p < 2) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->end || *s != p[0]) return NULL;
    for (size_t deep = 1; ++s < m->end;) {
        step(m);
        if (*s == p[1] && --deep == 0) return s + 1;
        if (*s == p[0] && *s != p[1]) deep++;
    }
    return NULL;
}

/* %f[set]: the set begins at s, and before s it does not hold. Both ends of the text are '\0'. */
static bool at_frontier(const matching *m, const char *s, const char *p, const char *end)
{
    int before = s == m->text ? 0 : byte(s - 1), here = s == m->end ? 0 : byte(s);
    return !in_set(before, p, end) && in_set(here, p, end);
}

/* As often as it goes, then less; at least once if `s` is behind the first already. */
static const char *longest(matching *m, const char *s, const char *p, const char *end)
{
    const char *far = s;
    while (accepts(m, far, p, end)) far++;
    for (; far >= s; far--) {
        const char *found = match(m, far, end + 1);
        if (found != NULL) return found;
    }
    return NULL;
}

static const char *shortest(matching *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *found = match(m, s, end + 1);
        if (found != NULL) return found;
        if (!accepts(m, s, p, end)) return NULL;
    }
}

/* ---- patterns --------------------------------------------------------------------------- */

/* %b, %f and %1 move *s and *p behind themselves; true if it was one of them, *s is NULL if it
 * did not match. */
static bool walk_special(matching *m, const char **s, const char **p)
{
    const char *at = *p;
    int kind = at[0] == '%' ? byte(at + 1) : 0;
    if (kind == 'b') {
        *s = balanced(m, *s, at + 2);
        *p = at + 4;
    } else if (kind == 'f') {
        if (at[2] != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
        *p = item_end(m, at + 2);
        if (!at_frontier(m, *s, at + 2, *p)) *s = NULL;
    } else if (isdigit(kind)) {
        *s = repeat_capture(m, *s, kind);
        *p = at + 2;
    } else {
        return false;
    }
    return true;
}

static const char *walk(matching *m, const char *s, const char *p)
{
    while (p != m->stop && s != NULL) {
        step(m);
        if (*p == '(') return open_capture(m, s, p);
        if (*p == ')') return close_capture(m, s, p);
        if (*p == '$' && p + 1 == m->stop) return s == m->end ? s : NULL;
        if (walk_special(m, &s, &p)) continue;
        const char *end = item_end(m, p), *found;
        bool accepted = accepts(m, s, p, end);
        switch (*end) {
        case '?':
            found = accepted ? match(m, s + 1, end + 1) : NULL;
            if (found != NULL) return found;
            p = end + 1;
            break;
        case '-':
        case '*':
            if (accepted) return (*end == '*' ? longest : shortest)(m, s, p, end);
            p = end + 1;
            break;
        case '+': return accepted ? longest(m, s + 1, p, end) : NULL;
        default:
            s = accepted ? s + 1 : NULL;
            p = end;
        }
    }
    return s;
}

static const char *match(matching *m, const char *s, const char *p)
{
    if (m->nested-- == 0) luaL_error(m->L, "pattern too complex");
    const char *found = walk(m, s, p);
    m->nested++;
    return found;
}

/* ---- results ---------------------------------------------------------------------------- */

/* Pushes capture n of a match from s to e; the first is the whole match if there is none. */
static void push_capture(matching *m, int n, const char *s, const char *e)
{
    capture held = {s, e - s};
    if (n < m->count) held = m->captures[n];
    else if (n > 0) luaL_error(m->L, "invalid capture index %%%d", n + 1);
    if (held.size == OPEN) luaL_error(m->L, "unfinished capture");
    if (held.size == PLACE) lua_pushinteger(m->L, held.at - m->text + 1);
    else lua_pushlstring(m->L, held.at, (size_t)held.size);
}

static int push_captures(matching *m, const char *s, const char *e)
{
    int count = m->count == 0 ? 1 : m->count;
    luaL_checkstack(m->L, count, "too many captures");
    for (int n = 0; n < count; n++) push_capture(m, n, s, e);
    return count;
}

/* ---- find and match ---------------------------------------------------------------------- */

static ml_bytes check_text(lua_State *L, int argument)
{
    ml_bytes text;
    text.data = luaL_checklstring(L, argument, &text.size);
    return text;
}

/* Where to begin, from 0; negative counts from the end. */
static size_t check_start(lua_State *L, int argument, size_t size)
{
    lua_Integer at = luaL_optinteger(L, argument, 1);
    if (at > 0) return (size_t)at - 1;
    if (at == 0 || at < -(lua_Integer)size) return 0;
    return size + (size_t)at;
}

static bool has_specials(ml_bytes pattern)
{
    const char *at = pattern.data;
    for (size_t i = 0; i < pattern.size; i++)
        if (at[i] != '\0' && strchr("^$*+?.([%-", at[i]) != NULL) return true;
    return false;
}

static int find_plain(lua_State *L, ml_bytes text, ml_bytes wanted, size_t start)
{
    const char *begins = text.data;
    const char *at = memmem(begins + start, text.size - start, wanted.data, wanted.size);
    if (at == NULL) return luaL_pushfail(L), 1;
    lua_pushinteger(L, at - begins + 1);
    lua_pushinteger(L, at - begins + (lua_Integer)wanted.size);
    return 2;
}

static int search(lua_State *L, bool find)
{
    ml_bytes text = check_text(L, 1), pattern = check_text(L, 2);
    size_t start = check_start(L, 3, text.size);
    if (start > text.size) return luaL_pushfail(L), 1;
    if (find && (lua_toboolean(L, 4) || !has_specials(pattern)))
        return find_plain(L, text, pattern, start);
    matching m = begin(L, text, pattern);
    bool anchored = *m.pattern == '^';
    refill(&m);
    for (const char *s = m.text + start; s <= m.end; s++) {
        const char *e = match_from(&m, s, m.pattern + anchored);
        if (e != NULL && !find) return push_captures(&m, s, e);
        if (e != NULL) {
            lua_pushinteger(L, s - m.text + 1);
            lua_pushinteger(L, e - m.text);
            return 2 + (m.count > 0 ? push_captures(&m, s, e) : 0);
        }
        if (anchored) break;
    }
    return luaL_pushfail(L), 1;
}

static int pattern_find(lua_State *L) { return search(L, true); }

static int pattern_match(lua_State *L) { return search(L, false); }

/* ---- gmatch ----------------------------------------------------------------------------- */

/* Where the next match begins, and where the last one ended: an empty match there is none. */
typedef struct walker {
    size_t at, last;
} walker;

/* Upvalues: the text, the pattern, the walker. */
static int next_match(lua_State *L)
{
    ml_bytes text = check_text(L, lua_upvalueindex(1));
    matching m = begin(L, text, check_text(L, lua_upvalueindex(2)));
    walker *w = lua_touserdata(L, lua_upvalueindex(3));
    refill(&m);
    for (; w->at <= text.size; w->at++) {
        const char *s = m.text + w->at, *e = match_from(&m, s, m.pattern);
        if (e == NULL || (size_t)(e - m.text) == w->last) continue;
        w->at = w->last = (size_t)(e - m.text);
        return push_captures(&m, s, e);
    }
    return 0;
}

static int pattern_gmatch(lua_State *L)
{
    ml_bytes text = check_text(L, 1);
    check_text(L, 2);
    size_t start = check_start(L, 3, text.size);
    lua_settop(L, 2);
    walker *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (walker){start > text.size ? text.size + 1 : start, SIZE_MAX};
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

/* ---- gsub ------------------------------------------------------------------------------- */

/* Adds the third argument, in which %1 stands for a capture. */
static void add_string(matching *m, luaL_Buffer *out, const char *s, const char *e)
{
    ml_bytes with = check_text(m->L, 3);
    const char *at = with.data, *stop = at + with.size;
    for (; at < stop; at++) {
        const char *sign = memchr(at, '%', (size_t)(stop - at));
        luaL_addlstring(out, at, (size_t)((sign != NULL ? sign : stop) - at));
        if (sign == NULL) return;
        at = sign + 1;
        if (*at == '%') {
            luaL_addchar(out, '%');
        } else if (*at == '0') {
            luaL_addlstring(out, s, (size_t)(e - s));
        } else if (isdigit(byte(at))) {
            push_capture(m, *at - '1', s, e);
            luaL_tolstring(m->L, -1, NULL);
            lua_remove(m->L, -2);
            luaL_addvalue(out);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
    }
}

/* Adds what stands for the match from s to e; false if that is itself. */
static bool add_replacement(matching *m, luaL_Buffer *out, int type, const char *s, const char *e)
{
    lua_State *L = m->L;
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e), 1);
    } else if (type == LUA_TTABLE) {
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
    } else {
        add_string(m, out, s, e);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, s, (size_t)(e - s));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

static int pattern_gsub(lua_State *L)
{
    ml_bytes text = check_text(L, 1), pattern = check_text(L, 2);
    int type = lua_type(L, 3);
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)text.size + 1), count = 0;
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                            type == LUA_TTABLE, 3, "string/function/table");
    matching m = begin(L, text, pattern);
    bool anchored = *m.pattern == '^', changed = false;
    const char *s = m.text, *last = NULL;
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    refill(&m);
    while (count < most) {
        const char *e = match_from(&m, s, m.pattern + anchored);
        if (e != NULL && e != last) {
            count++;
            if (add_replacement(&m, &out, type, s, e)) changed = true;
            s = last = e;
        } else if (s < m.end) {
            luaL_addchar(&out, *s++);
        } else {
            break;
        }
        if (anchored) break;
    }
    luaL_addlstring(&out, s, (size_t)(m.end - s));
    luaL_pushresult(&out);
    if (!changed) lua_pushvalue(L, 1);
    lua_pushinteger(L, count);
    return 2;
}

void ml_pattern_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", pattern_find},
                                         {"gmatch", pattern_gmatch},
                                         {"gsub", pattern_gsub},
                                         {"match", pattern_match},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
