--- Planted bugs of the rules' engine; as in list.lua.
--
-- luacheck: ignore 631 (source lines are quoted whole)
local bugs = {}
local function bug(name, file, from, to, spec)
  bugs[#bugs + 1] = {
    name = "rules: " .. name, file = "core/rules/" .. file, from = from, to = to,
    killed_by = ("spec/rules/%s_spec.lua"):format(spec),
  }
end

-- A state is not what the log says. -----------------------------------------------------------

bug("an admitted event is folded again", "engine_work.c",
  "if (f->unit == NULL || f->broken || event->revision < f->state->next) return;",
  "if (f->unit == NULL || f->broken) return;", "engine")
bug("a missed event is not noticed", "engine_work.c",
  "f->broken = event->revision > f->state->next;", "f->broken = false;", "engine")
bug("a forgotten stream is remembered", "engine_work.c",
  "    ml_states_forget(engine->states, stream);\n}", "    (void)engine; (void)stream;\n}", "engine")
bug("states of a changed unit stay", "engine.c",
  "return before != NULL && after != NULL && strcmp(before->hash, after->hash) == 0;",
  "return before != NULL && after != NULL;", "engine")
bug("states of all units go when one changes", "engine.c",
  "return before != NULL && after != NULL && strcmp(before->hash, after->hash) == 0;",
  "return before == after;", "engine")
bug("nothing is let go", "states.c",
  "while (states->bytes > states->bytes_max && states->ring.newer", "while (states->bytes > SIZE_MAX / 2 && states->ring.newer", "engine")
bug("the newest goes first", "states.c",
  "return states->ring.newer == &states->ring ? NULL : (entry *)states->ring.newer;",
  "return states->ring.newer == &states->ring ? NULL : (entry *)states->ring.older;", "engine")
bug("a state is not kept in memory", "engine_work.c",
  "    *state = ml_states_find(engine->states, stream);\n", "    *state = NULL;\n", "engine")

-- A command decides on what it should not, or writes what it should not. ------------------------

bug("a command that changed the state is not noticed", "decide.c",
  "if (args > 0 && !check_state(L, d)) return 0;", "if (args > 3 && !check_state(L, d)) return 0;", "aggregate")
bug("what no handler can fold is written", "engine_work.c",
  "    return good ? ML_OK : blame_decision(t, &event, why);", "    (void)blame_decision;\n    (void)good;\n    return ML_OK;", "engine")
bug("a state that cannot be kept is written for", "engine_work.c",
  "        good = ml_aggregate_write(t->unit, NULL, fault);\n", "", "engine")
bug("the expected revision is one too far", "decide.c",
  "ml_pack_int(out, (int64_t)d->ask->next - 1);", "ml_pack_int(out, (int64_t)d->ask->next);", "engine")
bug("an event says who decided it as it likes", "decide.c",
  "    lua_getfield(L, META, \"unit\");\n    lua_setfield(L, -2, \"unit\");\n", "", "aggregate")
bug("every uuid of a command is the same", "decide.c",
  "draw_uuid(from, ++from->count, text)", "draw_uuid(from, from->count, text)", "aggregate")
bug("uuids do not come from the dice", "decide.c",
  "{{from->dice, sizeof from->dice}, {n, sizeof n}}", "{{n, sizeof n}, {n, sizeof n}}", "aggregate")
bug("a refusal in a list is passed on", "decide.c",
  "if (ml_word_of(L, -1) != ML_WORD_EVENT)\n            return refuse", "if (!lua_istable(L, -1))\n            return refuse", "aggregate")
bug("what a handler of events returns is passed over", "aggregate.c",
  "if (!lua_isnil(L, -1)) a->wrong = luaL_typename(L, -1);", "", "aggregate")
bug("events are not upcast before they are folded", "aggregate.c",
  "if (event->schema < a->handler->latest)", "if (event->schema < a->handler->latest && event == NULL)", "aggregate")

-- A snapshot is believed that should not be, or time travel arrives elsewhere. -------------------

bug("a snapshot of other code is believed", "snapshot.c",
  "!take_text(&at, (ml_bytes){unit->hash, strlen(unit->hash)})", "!ml_unpack_skip(&at)", "snapshot")
bug("a snapshot of another stream is believed", "snapshot.c",
  "!take_text(&at, stream)", "!ml_unpack_skip(&at)", "snapshot")
bug("a snapshot's checksum is not looked at", "snapshot.c",
  "ml_get_u32(bytes + AT_CRC) != ml_crc32c(0, bytes + AT_SIZE, content.size - AT_SIZE)", "false", "snapshot")
bug("a snapshot of other events is believed", "temporal.c",
  "memcmp(event->id, state->id, ML_ID_SIZE) == 0;", "true;", "snapshot")
bug("a snapshot from after the moment is used", "temporal.c",
  "state->next <= f->moment->next_max && state->position <= f->moment->position_max", "true", "temporal")
bug("old snapshots are never thinned out", "snapshot.c",
  "if (done && number == newest) thin_out(disk, name, newest);", "", "snapshot")
bug("a revision is not part of the state at it", "ask.c",
  "moment->next_max = (uint64_t)token->integer + 1;", "moment->next_max = (uint64_t)token->integer;", "temporal")
bug("a recorded moment leaves itself out", "temporal.c",
  "event.time > f->moment->time_max)", "event.time >= f->moment->time_max)", "temporal")
bug("business time is not looked at", "temporal.c",
  "(event->has_occurred ? event->occurred : event->time)", "event->time", "temporal")
bug("a snapshot answers for a business time", "temporal.c",
  "|| f->unit->every == 0 || f->moment->has_as_of)", "|| f->unit->every == 0)", "temporal")

-- A pack gets through that should not. ------------------------------------------------------------

bug("a pack with errors is staged", "engine.c",
  "if (!code && said.errors == 0) {", "if (!code) {", "engine")
bug("unknown keys are passed over", "shape.c",
  '"record",  NULL};', '"record", "comands", NULL};', "rulepack")
bug("what a file requires is not part of its version", "unit.c",
  "if (!ml_sandbox_loaded(unit->sandbox, n)) continue;", "if (!ml_bytes_equal(files[n].path, unit->file.path)) continue;", "rulepack")
bug("two units may have one name", "rulepack.c",
  "if (other == NULL) {", "if (other == NULL || other != unit) {", "rulepack")
bug("a variable set by a called function is not seen", "lint.c",
  'if (strcmp(name, "_ENV") != 0) visit(l, visited, deep - 1);', "(void)deep;", "lint")
bug("a global that is set is not seen", "bytecode.c",
  ": globals         ? ML_BYTECODE_SET_GLOBAL", ": globals         ? ML_BYTECODE_GLOBAL", "lint")
bug("a variable of the function itself counts as outside", "bytecode.c",
  "if (upvalue[0]) break; /* a local of the outer one */", "if (upvalue[0]) return f->names[number];", "lint")
bug("lines are counted from the function's first", "bytecode.c",
  "    f->line = (uint32_t)take_size(whole);", "    take_size(whole);", "lint")
bug("the second sandbox has no past", "dryrun.c",
  "ml_code code = warm_up_all(r);", "ml_code code = r->twin == NULL ? warm_up_all(r) : ML_OK;", "dryrun")
bug("the second state never goes through bytes", "dryrun.c",
  "(!compare || ml_aggregate_begin(r->twin, ml_buf_view(&r->two), &fault)) &&", "", "dryrun")
bug("what was proved before is proved again", "engine.c",
  'if (strcmp(status_of(engine, unit), "same") == 0) continue;', "", "dryrun")

return bugs
