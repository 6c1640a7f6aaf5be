/* projection_text.c -- how projections are, as a table and what is to be said below it. */
#include "projection_text.h"

#include <stdio.h>

#include "../base/json.h"
#include "client.h"

static bool is_there(ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    return value.size > 0 && ml_unpack_next(&cursor).kind != ML_KIND_NIL;
}

static double number_of(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_token token = ml_unpack_next(&cursor);
    return token.kind == ML_KIND_FLOAT ? token.number : (double)token.integer;
}

/* Of a number that is not known nothing is shown. */
static void add_number(ml_buf *out, ml_bytes map, const char *name, const char *unit)
{
    double value = number_of(map, name);
    if (value > 0) ml_buf_print(out, "%.*f%s", value < 10 ? 1 : 0, value, unit);
}

/* A row of the table. How fast it goes is of interest while it is behind, and goes. */
bool ml_projection_text_row(ml_show *show, ml_bytes one)
{
    enum { SECONDS, RATE, ETA, TEXTS };
    ml_buf texts[TEXTS] = {{0}};
    ml_bytes lag = ml_unpack_find(one, "lag");
    if (ml_client_natural(lag, "events") > 0) {
        add_number(&texts[SECONDS], lag, "seconds", " s");
        if (!is_there(ml_unpack_find(one, "error"))) {
            add_number(&texts[RATE], one, "rate", "/s");
            add_number(&texts[ETA], one, "eta", " s");
        }
    }
    ml_field fields[] = {
        ML_TEXT("name", ml_unpack_find_str(one, "name")),
        ML_TEXT("hash", ml_unpack_find_str(one, "hash")),
        ML_TEXT("state", ml_unpack_find_str(one, "state")),
        ML_NATURAL("position", ml_client_natural(one, "position")),
        ML_NATURAL("lag", ml_client_natural(lag, "events")),
        ML_TEXT("behind", ml_buf_view(&texts[SECONDS])),
        ML_TEXT("rate", ml_buf_view(&texts[RATE])),
        ML_TEXT("eta", ml_buf_view(&texts[ETA])),
        ML_NATURAL("rows", ml_client_natural(one, "rows")),
    };
    for (int n = 0; n < TEXTS; n++)
        show->out.failed |= texts[n].failed;
    bool going = ml_show_record(show, fields, sizeof fields / sizeof *fields);
    for (int n = 0; n < TEXTS; n++)
        ml_buf_free(&texts[n]);
    return going;
}

/* ---- what is to be said below the table --------------------------------------------- */

/* "ranking is stopped at event 22: ranking.lua:8: attempt to …" */
static void tell_error(ml_bytes name, ml_bytes one, const char *which)
{
    ml_bytes error = ml_unpack_find(one, "error"), sentence = ml_unpack_find_str(error, "sentence");
    unsigned long long position = ml_client_natural(error, "position");
    if (sentence.size == 0) return;
    printf("%.*s%s is %.*s", ML_SHOW(name), which, ML_SHOW(ml_unpack_find_str(one, "state")));
    if (position > 0) printf(" at event %llu", position);
    printf(": %.*s\n", ML_SHOW(sentence));
    if (position > 0)
        printf("  load rules that can take it, or: moonlog projection skip %.*s --position %llu "
               "--reason TEXT\n",
               ML_SHOW(name), position);
}

/* Keys that go on no more since an event. */
static void tell_held(ml_bytes name, ml_bytes one)
{
    uint32_t count;
    unsigned long long held = ml_client_natural(one, "held");
    ml_unpack list = ml_client_list(one, "held_keys", &count);
    for (uint32_t n = 0; n < count; n++) {
        ml_buf text = {0};
        ml_bytes key = ml_unpack_value(&list), value = ml_unpack_find(key, "key");
        ml_unpack at = ml_unpack_from(value);
        if (ml_json_write(&at, &text) && !text.failed)
            printf("%.*s holds %.*s since event %llu: %.*s\n", ML_SHOW(name),
                   ML_SHOW(ml_buf_view(&text)),
                   (unsigned long long)ml_client_natural(key, "position"),
                   ML_SHOW(ml_unpack_find_str(key, "sentence")));
        ml_buf_free(&text);
    }
    if (held > count) printf("%.*s holds %llu keys in all\n", ML_SHOW(name), held);
    if (held > 0)
        printf("  load rules that can take it, or: moonlog projection retry %.*s; or skip, with the "
               "event's --position\n",
               ML_SHOW(name));
}

/* Of a version that is not read yet. */
static void tell_next(ml_bytes name, ml_bytes one)
{
    uint32_t count;
    ml_unpack list = ml_client_list(one, "generations", &count);
    for (uint32_t n = 0; n < count; n++) {
        ml_bytes generation = ml_unpack_value(&list), hash = ml_unpack_find_str(generation, "hash");
        if (count == 1 ||
            !ml_bytes_equal(ml_unpack_find_str(generation, "role"), ML_STR("next")))
            continue;
        printf("%.*s: version %.*s is built beside it, and is at position %llu\n", ML_SHOW(name),
               ML_SHOW(hash), (unsigned long long)ml_client_natural(generation, "position"));
        tell_error(name, generation, "'s next version");
    }
}

void ml_projection_text_tell(ml_bytes one)
{
    ml_bytes name = ml_unpack_find_str(one, "name");
    tell_error(name, one, "");
    tell_held(name, one);
    tell_next(name, one);
}

/* ---- how they are, in full ------------------------------------------------------------ */

/* All that the daemon says of it, under the names that it uses. */
bool ml_projection_text_whole(ml_show *show, ml_bytes one)
{
    ml_field fields[ML_SHOW_FIELDS_MAX];
    char names[ML_SHOW_FIELDS_MAX][32];
    size_t count = 0;
    uint32_t pairs;
    ml_bytes name;
    ml_unpack cursor = ml_unpack_from(one);
    if (!ml_unpack_map(&cursor, &pairs)) return true;
    for (uint32_t n = 0; n < pairs && count < ML_SHOW_FIELDS_MAX; n++) {
        if (!ml_unpack_str(&cursor, &name)) break;
        snprintf(names[count], sizeof names[count], "%.*s", (int)name.size,
                 (const char *)name.data);
        ml_bytes value = ml_unpack_value(&cursor);
        if (is_there(value)) fields[count] = ML_VALUE(names[count], value), count++;
    }
    return ml_show_record(show, fields, count);
}

