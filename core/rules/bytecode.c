/* bytecode.c -- one pass over a dump. Functions in functions come after the code of the outer
 * one, and names after both, so the outer ones' places are noted on the way down. */
#include "bytecode.h"

enum {
    FUNCTIONS_DEEP_MAX = 64,
    UPVALUES_MAX = 255,
    HEADER_BYTES = 4 + 2 + 6 + 3 + 8 + 8,
    ABSOLUTE = -0x80, /* in the list of line steps: it is the next in the list of whole lines */

    OP_MOVE = 0, OP_GETUPVAL = 9, OP_SETUPVAL = 10, OP_GETTABUP = 11, OP_GETTABLE = 12,
    OP_GETI = 13, OP_GETFIELD = 14, OP_SETTABUP = 15, OP_SETTABLE = 16, OP_SETI = 17,
    OP_SETFIELD = 18,

    IS_NIL = 0x00, IS_FALSE = 0x01, IS_TRUE = 0x11, IS_INTEGER = 0x03, IS_FLOAT = 0x13,
    IS_SHORT = 0x04, IS_LONG = 0x14
};

typedef struct reader {
    const uint8_t *at, *end;
    bool bad;
    uint8_t captured; /* by functions inside, of the outermost one's first registers: a bit each */
    struct function *frames; /* FUNCTIONS_DEEP_MAX of them, one in the other */
    ml_bytecode_seen *seen;
    void *context;
} reader;

/* Where a function keeps what. */
typedef struct function function;
struct function {
    const function *outer;
    uint8_t params;
    bool more; /* "..." */
    uint32_t first, line; /* where it begins, and the line of the instruction that is looked at */
    const uint8_t *code;
    size_t code_count, constant_count;
    const uint8_t *constants; /* where they begin */
    size_t upvalue_count;
    const uint8_t *upvalues; /* three bytes each */
    const int8_t *steps;
    size_t step_count;
    const uint8_t *whole; /* lines */
    size_t whole_count;
    ml_bytes names[UPVALUES_MAX];
    unsigned deep;
};

/* ---- pieces ----------------------------------------------------------------------------- */

static const uint8_t *take(reader *r, size_t size)
{
    if (r->bad || (size_t)(r->end - r->at) < size) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += size;
    return at;
}

static uint8_t take_byte(reader *r)
{
    const uint8_t *at = take(r, 1);
    return at != NULL ? *at : 0;
}

/* Seven bits a byte, highest first; the last byte has the high bit. */
static size_t take_size(reader *r)
{
    size_t value = 0;
    for (unsigned n = 0; n < 10; n++) {
        uint8_t byte = take_byte(r);
        value = value << 7 | (byte & 0x7f);
        if (byte & 0x80) return value;
    }
    r->bad = true;
    return 0;
}

static ml_bytes take_text(reader *r)
{
    size_t size = take_size(r);
    if (size == 0) return (ml_bytes){0};
    const uint8_t *at = take(r, size - 1);
    return (ml_bytes){at, at != NULL ? size - 1 : 0};
}

static ml_bytes take_constant(reader *r)
{
    switch (take_byte(r)) {
    case IS_NIL:
    case IS_FALSE:
    case IS_TRUE: return (ml_bytes){0};
    case IS_INTEGER:
    case IS_FLOAT: take(r, 8); return (ml_bytes){0};
    case IS_SHORT:
    case IS_LONG: return take_text(r);
    default: r->bad = true; return (ml_bytes){0};
    }
}

static ml_bytes constant_at(const reader *r, const function *f, size_t number)
{
    reader again = {.at = f->constants, .end = r->end};
    ml_bytes text = {0};
    if (number >= f->constant_count) return text;
    for (size_t n = 0; n <= number; n++) text = take_constant(&again);
    return text;
}

/* Steps on to the instruction: a difference to the line before, or the next of the whole lines. */
static void step_line(function *f, reader *whole, size_t pc)
{
    if (pc >= f->step_count) return;
    if (f->steps[pc] != ABSOLUTE) {
        f->line = (uint32_t)((int64_t)f->line + f->steps[pc]);
        return;
    }
    take_size(whole); /* of which instruction */
    f->line = (uint32_t)take_size(whole);
}

/* ---- what the code does ----------------------------------------------------------------- */

/* The name of an upvalue if it is one of the dumped function's own, which outlive its call; else
 * empty, for it belongs to a function in between. */
static ml_bytes name_outside(const function *f, size_t number)
{
    while (number < f->upvalue_count) {
        if (f->outer == NULL) return f->names[number];
        const uint8_t *upvalue = f->upvalues + 3 * number;
        if (upvalue[0]) break; /* a local of the outer one */
        number = upvalue[1];
        f = f->outer;
    }
    return (ml_bytes){0};
}

static bool is_globals(const function *f, size_t number)
{
    return number < f->upvalue_count && ml_bytes_equal(f->names[number], ML_STR("_ENV"));
}

/* `held`: for each register the name of the outside variable that its table came from. */
static void look(const reader *r, const function *f, size_t pc, ml_bytes held[256])
{
    uint32_t code = ml_get_u32(f->code + 4 * pc);
    unsigned op = code & 0x7f, a = code >> 7 & 0xff, b = code >> 16 & 0xff, c = code >> 24;
    ml_bytes name = {0};
    switch (op) {
    case OP_GETTABUP:
    case OP_SETTABUP: {
        size_t table = op == OP_GETTABUP ? b : a;
        bool globals = is_globals(f, table);
        name = globals ? constant_at(r, f, op == OP_GETTABUP ? c : b) : name_outside(f, table);
        ml_bytecode_use use = op == OP_GETTABUP ? ML_BYTECODE_GLOBAL
                              : globals         ? ML_BYTECODE_SET_GLOBAL
                                                : ML_BYTECODE_SET_INSIDE;
        if (name.size > 0 && (globals || op == OP_SETTABUP))
            r->seen(r->context, use, name, f->line);
        if (op == OP_GETTABUP) held[a] = name;
        return;
    }
    case OP_SETUPVAL:
        name = name_outside(f, b);
        if (name.size > 0) r->seen(r->context, ML_BYTECODE_SET, name, f->line);
        return;
    case OP_SETTABLE:
    case OP_SETI:
    case OP_SETFIELD:
        if (held[a].size > 0)
            r->seen(r->context, ML_BYTECODE_SET_INSIDE, held[a], f->line);
        return;
    case OP_GETUPVAL: held[a] = is_globals(f, b) ? name : name_outside(f, b); return;
    case OP_MOVE:
    case OP_GETTABLE:
    case OP_GETI:
    case OP_GETFIELD: held[a] = held[b]; return;
    default: held[a] = name; return;
    }
}

/* ---- functions -------------------------------------------------------------------------- */

static void walk(reader *r, const function *outer);

static void take_lines(reader *r, function *f)
{
    f->step_count = take_size(r);
    f->steps = (const int8_t *)take(r, f->step_count);
    f->whole_count = take_size(r);
    f->whole = r->at;
    for (size_t n = 0; !r->bad && n < f->whole_count; n++) {
        take_size(r);
        take_size(r);
    }
    size_t locals = take_size(r);
    for (size_t n = 0; !r->bad && n < locals; n++) {
        take_text(r);
        take_size(r);
        take_size(r);
    }
}

/* Names stand behind the functions inside, which need them: those are passed over first and
 * walked again at the end. */
static void take_names(reader *r, function *f)
{
    size_t count = take_size(r);
    if (count > UPVALUES_MAX) r->bad = true;
    for (size_t n = 0; !r->bad && n < count; n++) f->names[n] = take_text(r);
}

static void ignore(void *context, ml_bytecode_use use, ml_bytes name, uint32_t line)
{
    (void)context;
    (void)use;
    (void)name;
    (void)line;
}

static void take_head(reader *r, function *f)
{
    take_text(r); /* the source's name */
    f->first = f->line = (uint32_t)take_size(r);
    take_size(r);
    f->params = take_byte(r);
    f->more = take_byte(r) != 0;
    take(r, 1); /* registers */
    f->code_count = take_size(r);
    if (f->code_count > (size_t)(r->end - r->at)) r->bad = true;
    f->code = take(r, r->bad ? 0 : 4 * f->code_count);
    f->constant_count = take_size(r);
    f->constants = r->at;
    for (size_t n = 0; !r->bad && n < f->constant_count; n++) take_constant(r);
    f->upvalue_count = take_size(r);
    if (f->upvalue_count > UPVALUES_MAX) r->bad = true;
    f->upvalues = take(r, r->bad ? 0 : 3 * f->upvalue_count);
    for (size_t n = 0; !r->bad && f->deep == 1 && n < f->upvalue_count; n++)
        if (f->upvalues[3 * n] && f->upvalues[3 * n + 1] < 8)
            r->captured |= (uint8_t)(1 << f->upvalues[3 * n + 1]);
}

static void look_at_code(const reader *r, function *f)
{
    ml_bytes held[256] = {{0}};
    reader whole = {.at = f->whole, .end = r->end};
    for (size_t pc = 0; pc < f->code_count; pc++) {
        step_line(f, &whole, pc);
        look(r, f, pc, held);
    }
    if (f->constant_count > ML_BYTECODE_CONSTANTS_MAX)
        r->seen(r->context, ML_BYTECODE_CONSTANTS, (ml_bytes){0}, f->first);
}

static void walk(reader *r, const function *outer)
{
    unsigned deep = outer != NULL ? outer->deep + 1 : 0;
    if (deep == FUNCTIONS_DEEP_MAX) {
        r->bad = true;
        return;
    }
    function *f = &r->frames[deep];
    *f = (function){.outer = outer, .deep = deep};
    take_head(r, f);
    size_t inner = take_size(r);
    reader later = *r;
    ml_bytecode_seen *seen = r->seen;
    r->seen = ignore;
    for (size_t n = 0; !r->bad && n < inner; n++) walk(r, f);
    r->seen = seen;
    take_lines(r, f);
    take_names(r, f);
    if (seen == ignore || r->bad) return;
    look_at_code(r, f);
    for (size_t n = 0; !later.bad && n < inner; n++) walk(&later, f);
    r->bad = later.bad;
}

static bool walk_dump(reader *r, ml_bytes dump, ml_buf *frames)
{
    static const uint8_t start[] = {0x1b, 'L',  'u',  'a',  0x54, 0, 0x19, 0x93,
                                    '\r', '\n', 0x1a, '\n', 4,    8, 8};
    r->at = dump.data;
    r->end = r->at + dump.size;
    const uint8_t *header = take(r, HEADER_BYTES);
    if (header == NULL || memcmp(header, start, sizeof start) != 0) return false;
    ml_buf_clear(frames);
    r->frames = (void *)ml_buf_take(frames, FUNCTIONS_DEEP_MAX * sizeof(function));
    if (r->frames == NULL) return false;
    take(r, 1); /* the number of upvalues, which the function has too */
    walk(r, NULL);
    return !r->bad && r->at == r->end;
}

bool ml_bytecode_walk(ml_bytes dump, ml_buf *frames, ml_bytecode_seen *seen, void *context)
{
    reader r = {.seen = seen, .context = context};
    return walk_dump(&r, dump, frames);
}

/* ---- what becomes of a parameter -------------------------------------------------------- */

/* Which operands of an instruction are registers that are read or set as a whole, by opcode. K is a
 * constant instead if the instruction says so. The table of GETTABLE, GETI, GETFIELD (B), and of
 * SETTABLE, SETI, SETFIELD (A), is not among them. */
enum { A = 1, B = 2, C = 4, K = 8 };
static const uint8_t operands[] = {
    A | B, /* MOVE */
    A, A, A, A, A, A, A, A, /* LOADI to LOADNIL */
    A, A, A, /* GETUPVAL SETUPVAL GETTABUP */
    A | C, A, A, /* GETTABLE GETI GETFIELD */
    K, B | K, K, K, /* SETTABUP SETTABLE SETI SETFIELD */
    A, A | B | K, /* NEWTABLE SELF */
    A | B, /* ADDI */
    A | B, A | B, A | B, A | B, A | B,
    A | B, A | B, A | B, A | B, A | B, /* ADDK to BXORK */
    A | B, A | B, /* SHRI SHLI */
    A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, A | B | C,
    A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, /* ADD to SHR */
    A | B, A, A, /* MMBIN MMBINI MMBINK */
    A | B, A | B, A | B, A | B, /* UNM BNOT NOT LEN */
    A, A, A, /* CONCAT CLOSE TBC: and up */
    0, /* JMP */
    A | B, A | B, A | B, /* EQ LT LE */
    A, A, A, A, A, A, /* EQK EQI LTI LEI GTI GEI */
    A, A | B, /* TEST TESTSET */
    A, A, A, /* CALL TAILCALL RETURN: and up */
    0, A, /* RETURN0 RETURN1 */
    A, A, A, A, A, /* FORLOOP to TFORLOOP */
    A, A, A, /* SETLIST CLOSURE VARARG */
    0, 0 /* VARARGPREP EXTRAARG */
};

_Static_assert(sizeof operands == 83, "those of Lua 5.4");

static bool takes(uint32_t code, unsigned reg)
{
    unsigned op = code & 0x7f, uses = op < sizeof operands ? operands[op] : A | B | C;
    bool constant = code >> 15 & 1;
    return ((uses & A) && (code >> 7 & 0xff) == reg) ||
           ((uses & B) && (code >> 16 & 0xff) == reg) ||
           (((uses & C) || ((uses & K) && !constant)) && code >> 24 == reg);
}

static void add_name(ml_buf *names, ml_bytes name)
{
    uint8_t size = (uint8_t)name.size;
    for (size_t at = 0; at < names->size; at += 1u + names->data[at])
        if (ml_bytes_equal(name, (ml_bytes){names->data + at + 1, names->data[at]})) return;
    ml_buf_add(names, &size, 1);
    ml_buf_add(names, name.data, name.size);
}

/* False: it gets a field whose name is not known before. */
static bool add_got(const reader *r, const function *f, uint32_t code, unsigned reg, ml_buf *names)
{
    unsigned op = code & 0x7f;
    if ((op != OP_GETTABLE && op != OP_GETI && op != OP_GETFIELD) || (code >> 16 & 0xff) != reg)
        return true;
    if (op != OP_GETFIELD) return false;
    ml_bytes name = constant_at(r, f, code >> 24);
    if (name.size == 0 || name.size > UINT8_MAX) return false;
    add_name(names, name);
    return true;
}

/* With `names` also the names of fields that are got are to be known. */
static bool look_at(ml_bytes dump, unsigned parameter, ml_buf *names, ml_buf *frames)
{
    reader r = {.seen = ignore};
    if (!walk_dump(&r, dump, frames)) return false;
    const function *f = r.frames;
    if (f->more || parameter > 7 || (r.captured >> parameter & 1)) return false;
    if (f->params <= parameter) return true; /* it does not take it */
    for (size_t pc = 0; pc < f->code_count; pc++) {
        uint32_t code = ml_get_u32(f->code + 4 * pc);
        if (takes(code, parameter)) return false;
        if (names != NULL && !add_got(&r, f, code, parameter, names)) return false;
    }
    return names == NULL || !names->failed;
}

bool ml_bytecode_lends(ml_bytes dump, unsigned parameter, ml_buf *frames)
{
    return look_at(dump, parameter, NULL, frames);
}

bool ml_bytecode_picks(ml_bytes dump, unsigned parameter, ml_buf *names, ml_buf *frames)
{
    return look_at(dump, parameter, names, frames);
}
