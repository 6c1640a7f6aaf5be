/* rulepack.c -- from files to units. */
#include "rulepack.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/bytes.h"
#include "../base/digest.h"

void ml_rulepack_refuse(const ml_rulepack *pack, ml_diagnostics *to, const char *code,
                        ml_bytes path, uint32_t line, const char *format, ...)
{
    char sentence[512], name[256];
    ml_fault fault = {.kind = ML_FAULT_NONE};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    snprintf(name, sizeof name, "%.*s", path.size > 255 ? 255 : (int)path.size,
             (const char *)path.data);
    ml_fault_set(&fault, ML_FAULT_SHAPE, name, line, "%s", sentence);
    ml_unit_quote(pack->files, pack->count, &fault);
    ml_diagnose_error(to, code, &fault);
}

/* ---- files ------------------------------------------------------------------------------ */

static bool ends(ml_bytes path, const char *with)
{
    size_t size = strlen(with);
    return path.size >= size && memcmp((const char *)path.data + path.size - size, with, size) == 0;
}

static bool is_lib(ml_bytes path) { return ml_bytes_begins(path, ML_STR("lib/")); }

/* Names are the same on every machine, and lead nowhere else. */
static bool is_plain(ml_bytes path)
{
    const char *text = path.data;
    if (path.size == 0 || path.size > ML_RULEPACK_PATH_MAX || text[0] == '/') return false;
    for (size_t n = 0; n < path.size; n++) {
        if (!isalnum((unsigned char)text[n]) && memchr("_./-", text[n], 4) == NULL) return false;
        bool begins = n == 0 || text[n - 1] == '.' || text[n - 1] == '/';
        if (begins && (text[n] == '.' || text[n] == '/')) return false;
    }
    return true;
}

static int compare(const void *left, const void *right)
{
    const ml_source *a = left, *b = right;
    size_t size = a->path.size < b->path.size ? a->path.size : b->path.size;
    int order = memcmp(a->path.data, b->path.data, size);
    return order != 0 ? order : (a->path.size > b->path.size) - (a->path.size < b->path.size);
}

static ml_bytes copy(ml_buf *text, ml_bytes bytes)
{
    const uint8_t *at = text->data + text->size;
    ml_buf_add(text, bytes.data, bytes.size);
    ml_buf_byte(text, '\0');
    return (ml_bytes){at, bytes.size};
}

static ml_code take_files(ml_rulepack *pack, const ml_source *files, size_t count,
                          ml_diagnostics *to, ml_error *why)
{
    size_t bytes = 0;
    for (size_t n = 0; n < count; n++) bytes += files[n].path.size + files[n].text.size + 2;
    pack->files = calloc(count + 1, sizeof *pack->files);
    if (pack->files == NULL || !ml_buf_reserve(&pack->text, bytes))
        return ml_error_memory(why, "a pack");
    for (size_t n = 0; n < count; n++) {
        if (!ends(files[n].path, ".lua") || ends(files[n].path, "_spec.lua")) continue;
        if (!is_plain(files[n].path))
            ml_rulepack_refuse(
                pack, to, "SHAPE", files[n].path, 0,
                "a file's name has up to %d letters, digits, '_', '-' and single '.', in folders "
                "of the pack",
                ML_RULEPACK_PATH_MAX);
        else if (pack->count == ML_RULES_FILES_MAX)
            ml_rulepack_refuse(pack, to, "SHAPE", files[n].path, 0,
                               "the pack has over %d files; make two of it", ML_RULES_FILES_MAX);
        else
            pack->files[pack->count++] = (ml_source){copy(&pack->text, files[n].path),
                                                     copy(&pack->text, files[n].text)};
        if (to->errors > 0) return ML_OK;
    }
    qsort(pack->files, pack->count, sizeof *pack->files, compare);
    for (size_t n = 1; n < pack->count; n++)
        if (ml_bytes_equal(pack->files[n].path, pack->files[n - 1].path))
            ml_rulepack_refuse(pack, to, "SHAPE", pack->files[n].path, 0,
                               "this file is there twice");
    return ML_OK;
}

static ml_code hash_pack(ml_rulepack *pack, ml_error *why)
{
    uint8_t digest[ML_DIGEST_SIZE];
    ml_bytes *parts = calloc(2 * pack->count + 1, sizeof *parts);
    if (parts == NULL) return ml_error_memory(why, "the hash of a pack");
    for (size_t n = 0; n < pack->count; n++) {
        parts[2 * n] = (ml_bytes){pack->files[n].path.data, pack->files[n].path.size + 1};
        parts[2 * n + 1] = (ml_bytes){pack->files[n].text.data, pack->files[n].text.size + 1};
    }
    ml_code code = ml_digest_of(parts, 2 * pack->count, digest, why);
    if (!code) ml_digest_hex(digest, ML_RULES_HASH, pack->hash);
    free(parts);
    return code;
}

/* ---- units ------------------------------------------------------------------------------ */

/* Nobody is to believe that it runs. */
static void warn_of_later(const ml_unit *unit, ml_diagnostics *to)
{
    char path[256];
    ml_fault fault = {.kind = ML_FAULT_NONE};
    if (unit->kind != ML_UNIT_REACTOR) return;
    snprintf(path, sizeof path, "%.*s", ML_SHOW(unit->file.path));
    ml_fault_set(&fault, ML_FAULT_SHAPE, path, 0,
                 "%s has the right shape, and is not run by this version", unit->label);
    ml_diagnose_warning(to, "LATER", &fault);
}

static void add_unit(ml_rulepack *pack, ml_unit *unit, ml_diagnostics *to)
{
    warn_of_later(unit, to);
    ml_unit *other = ml_rulepack_find(pack, unit->kind, (ml_bytes){unit->name, strlen(unit->name)});
    if (other == NULL) {
        pack->units[pack->unit_count++] = unit;
        return;
    }
    ml_rulepack_refuse(pack, to, "SHAPE", unit->file.path, 0,
                       "%s is in %s too; give one of them another name", unit->label,
                       (const char *)other->file.path.data);
    ml_unit_free(unit);
}

/* One that a split may come out of reaches everybody. */
static bool reaches(const ml_unit *chain, const ml_unit *unit)
{
    ml_bytes type = {chain->name, strlen(chain->name)};
    return chain->splits || ml_unit_find(&unit->on, type) != NULL;
}

static bool add_chains(const ml_rulepack *pack, ml_unit *unit)
{
    for (size_t n = 0; n < pack->unit_count; n++)
        if (pack->units[n]->kind == ML_UNIT_UPCAST && reaches(pack->units[n], unit) &&
            !ml_unit_add_chain(unit, pack->units[n]->file.path))
            return false;
    return true;
}

/* The chains for plain reads; what is wrong with one is said here. */
static ml_code make_chains(ml_rulepack *pack, ml_diagnostics *to, ml_error *why)
{
    ml_fault fault;
    pack->sandbox = ml_sandbox_new(pack->files, pack->count, 0, why);
    if (pack->sandbox == NULL) return ML_NO_MEMORY;
    pack->upcasts = ml_upcasts_new(pack->sandbox);
    if (pack->upcasts == NULL) return ml_error_memory(why, "chains of upcasters");
    for (size_t n = 0; n < pack->unit_count; n++) {
        const ml_unit *unit = pack->units[n];
        if (unit->kind != ML_UNIT_UPCAST) continue;
        if (!ml_sandbox_run(pack->sandbox, unit->file.path, &fault)) {
            ml_unit_quote(pack->files, pack->count, &fault);
            ml_diagnose_error(to, "RAISED", &fault);
        } else {
            ML_IGNORE(!ml_upcasts_add(pack->upcasts, unit->file.path, to)); /* it is in `to` */
        }
    }
    return ML_OK;
}

static ml_code make_units(ml_rulepack *pack, ml_diagnostics *to, ml_error *why)
{
    pack->units = calloc(pack->count + 1, sizeof *pack->units);
    if (pack->units == NULL) return ml_error_memory(why, "a pack");
    for (size_t n = 0; n < pack->count; n++) {
        if (is_lib(pack->files[n].path)) continue;
        ml_unit *unit = ml_unit_new(pack->files, pack->count, pack->files[n], to);
        if (unit != NULL) add_unit(pack, unit, to);
    }
    ml_code code = make_chains(pack, to, why);
    for (size_t n = 0; !code && to->errors == 0 && n < pack->unit_count; n++) {
        ml_unit *unit = pack->units[n];
        if (ml_unit_runs(unit) && !add_chains(pack, unit))
            code = ml_error_memory(why, "chains of upcasters");
        if (!code) code = ml_unit_seal(unit, pack->files, pack->count, why);
    }
    return code;
}

/* ---- the door --------------------------------------------------------------------------- */

ml_code ml_rulepack_new(const ml_source *files, size_t count, ml_diagnostics *to, ml_rulepack **out,
                        ml_error *why)
{
    ml_rulepack *pack = *out = calloc(1, sizeof *pack);
    if (pack == NULL) return ml_error_memory(why, "a pack");
    ml_code code = take_files(pack, files, count, to, why);
    if (!code) code = hash_pack(pack, why);
    if (!code && to->errors == 0) code = make_units(pack, to, why);
    if (!code) return ML_OK;
    ml_rulepack_free(pack);
    *out = NULL;
    return code;
}

void ml_rulepack_free(ml_rulepack *pack)
{
    if (pack == NULL) return;
    for (size_t n = 0; n < pack->unit_count; n++) ml_unit_free(pack->units[n]);
    free(pack->units);
    ml_upcasts_free(pack->upcasts);
    ml_sandbox_free(pack->sandbox);
    free(pack->files);
    ml_buf_free(&pack->text);
    free(pack);
}

ml_unit *ml_rulepack_find(const ml_rulepack *pack, ml_unit_kind kind, ml_bytes name)
{
    for (size_t n = 0; n < pack->unit_count; n++)
        if (pack->units[n]->kind == kind &&
            ml_bytes_equal(name, (ml_bytes){pack->units[n]->name, strlen(pack->units[n]->name)}))
            return pack->units[n];
    return NULL;
}

ml_unit *ml_rulepack_twin(const ml_rulepack *pack, const ml_unit *unit)
{
    ml_error why;
    ml_diagnostics said = {0};
    ml_unit *twin = ml_unit_new(pack->files, pack->count, unit->file, &said);
    ml_diagnostics_free(&said);
    if (twin == NULL) return NULL;
    if (add_chains(pack, twin) && ml_unit_seal(twin, pack->files, pack->count, &why) == ML_OK)
        return twin;
    ml_unit_free(twin);
    return NULL;
}
