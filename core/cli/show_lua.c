/* show_lua.c -- MessagePack as Lua source text, each value on one line.
 *
 *     nil        nil                      str, bin  "text", with \n, \", \\ and \ddd
 *     integer    5, 0x8000000000000000 for the least, whose decimal form Lua reads as a float
 *     float      35.0, 1e999, -1e999, 0/0
 *     array      {1,2}                    map       {name="ada",["a b"]=1,[7]=2}
 *     ext        {["$ext"]={type,"bytes"}}
 */
#include <math.h>

#include "../base/json.h"
#include "show.h"

void ml_show_lua_string(ml_buf *out, ml_bytes text)
{
    const uint8_t *data = text.data;
    bool plain = ml_unpack_utf8(text);
    ml_buf_byte(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (data[i] == '\n') ml_buf_print(out, "\\n");
        else if (data[i] < 0x20 || data[i] == 0x7f || (data[i] > 0x7f && !plain))
            ml_buf_print(out, "\\%03u", data[i]);
        else if (data[i] == '"' || data[i] == '\\') ml_buf_print(out, "\\%c", data[i]);
        else ml_buf_byte(out, data[i]);
    }
    ml_buf_byte(out, '"');
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(ml_bytes key)
{
    static const char *const words[] = {
        "and",   "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",
        "if",    "in",    "local", "nil", "not",   "or",     "repeat", "return", "then",   "true",
        "until", "while"};
    const uint8_t *data = key.data;
    if (key.size == 0 || !is_letter(data[0])) return false;
    for (size_t i = 1; i < key.size; i++)
        if (!is_letter(data[i]) && (data[i] < '0' || data[i] > '9')) return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (ml_bytes_equal(key, ml_cli_text(words[i]))) return false;
    return true;
}

void ml_show_lua_key(ml_buf *out, ml_bytes key)
{
    if (is_name(key)) {
        ml_buf_add(out, key.data, key.size);
        ml_buf_byte(out, '=');
        return;
    }
    ml_buf_byte(out, '[');
    ml_show_lua_string(out, key);
    ml_buf_print(out, "]=");
}

static void add_float(ml_buf *out, double value)
{
    if (isnan(value)) ml_buf_print(out, "0/0");
    else if (isinf(value)) ml_buf_print(out, value < 0 ? "-1e999" : "1e999");
    else ml_json_double(out, value);
}

static bool add_value(ml_unpack *cursor, ml_buf *out);

static bool add_array(ml_unpack *cursor, ml_buf *out, uint32_t count)
{
    ml_buf_byte(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) ml_buf_byte(out, ',');
        if (!add_value(cursor, out)) return false;
    }
    ml_buf_byte(out, '}');
    return true;
}

/* Keys that Lua does not allow are put in quotes. */
static bool add_key(ml_unpack *cursor, ml_buf *out)
{
    ml_unpack look = *cursor;
    ml_token token = ml_unpack_next(&look);
    if (token.kind == ML_KIND_STR) {
        *cursor = look;
        ml_show_lua_key(out, token.bytes);
        return true;
    }
    bool quoted = token.kind == ML_KIND_NIL || (token.kind == ML_KIND_FLOAT && isnan(token.number));
    ml_buf_print(out, quoted ? "[\"" : "[");
    if (!add_value(cursor, out)) return false;
    ml_buf_print(out, quoted ? "\"]=" : "]=");
    return true;
}

static bool add_map(ml_unpack *cursor, ml_buf *out, uint32_t pairs)
{
    ml_buf_byte(out, '{');
    for (uint32_t i = 0; i < pairs; i++) {
        if (i > 0) ml_buf_byte(out, ',');
        if (!add_key(cursor, out) || !add_value(cursor, out)) return false;
    }
    ml_buf_byte(out, '}');
    return true;
}

static bool add_value(ml_unpack *cursor, ml_buf *out)
{
    ml_token token = ml_unpack_next(cursor);
    switch (token.kind) {
    case ML_KIND_NONE: return false;
    case ML_KIND_NIL: ml_buf_print(out, "nil"); return true;
    case ML_KIND_BOOL: ml_buf_print(out, token.boolean ? "true" : "false"); return true;
    case ML_KIND_INT:
        if (token.integer == INT64_MIN) ml_buf_print(out, "0x8000000000000000");
        else ml_buf_print(out, "%lld", (long long)token.integer);
        return true;
    case ML_KIND_UINT: ml_buf_print(out, "%llu.0", (unsigned long long)token.natural); return true;
    case ML_KIND_FLOAT: add_float(out, token.number); return true;
    case ML_KIND_STR:
    case ML_KIND_BIN: ml_show_lua_string(out, token.bytes); return true;
    case ML_KIND_EXT:
        ml_buf_print(out, "{[\"$ext\"]={%d,", token.ext);
        ml_show_lua_string(out, token.bytes);
        ml_buf_print(out, "}}");
        return true;
    case ML_KIND_ARRAY: return add_array(cursor, out, token.count);
    case ML_KIND_MAP: return add_map(cursor, out, token.count);
    }
    return false;
}

/* Recursion is bounded: the value is checked to be whole and not too deep before. */
bool ml_show_lua_value(ml_buf *out, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value), whole = cursor;
    return ml_unpack_skip(&whole) && add_value(&cursor, out);
}
