--- Planted bugs of projections; as in list.lua.
--
-- luacheck: ignore 631 (source lines are quoted whole)
local bugs = {}
local function bug(name, file, from, to, spec)
  bugs[#bugs + 1] = {
    name = "projections: " .. name, file = "core/" .. file, from = from, to = to,
    killed_by = ("spec/projection/%s_spec.lua"):format(spec),
  }
end

-- An event is in the wrong window, or closes one at another time than a rebuild would. -----------

bug("times before 1970 are in the next window", "projection/window.c",
  "past < 0 ? past + step : past", "past", "window")
bug("the clock goes back", "projection/window.c",
  "if (!clock->begun || ahead > clock->ahead) clock->ahead = ahead;", "clock->ahead = ahead;", "window")
bug("a window closes one event too late", "projection/window.c",
  "span.end + window->grace <= now;", "span.end + window->grace < now;", "window")
bug("late events change what is closed", "projection/projection_apply.c",
  "if (ml_window_closed(window, spans[n], a->now)) use.handler = p->late;", "", "projection")
bug("the clock is not kept", "projection/projection_apply.c",
  "    p->clock = clock;\n", "    (void)clock;\n", "projection")

-- A row is another than a full rebuild's. ------------------------------------------------------

bug("a row that is taken away stays", "projection/projection_row.c",
  "(from != to || !keep) && was", "from != to && was", "projection")
bug("parts of one event do not see each other's rows", "projection/projection_row.c",
  "if (a->parts < 2) return NULL;", "return NULL;", "projection")
bug("a row that has expired is there until it is swept", "projection/projection_row.c",
  "expires != 0 && expires <= a->now", "expires != 0 && expires < a->now", "projection")
bug("an event changes rows without end", "projection/projection_row.c",
  "if (++a->changed <= ML_PROJECTION_KEYS_MAX) return false;", "return false;", "projection")
bug("a session is found twice", "projection/projection_session.c",
  "if (is_span(f->found[n].span, span)) return false;", "(void)n;", "projection")
bug("other keys are not left alone", "projection/projection_apply.c",
  "if (a->only != NULL && !ml_keys_has(a->only, key)) return;", "", "projection")
bug("events of types with chains are not asked for", "projection/projection.c",
  "if (!there) p->types[p->type_count++] = handler->name;", "", "projection")
bug("an id begins with its dash", "projection/path.c",
  "ml_event_category(stream).size + 1;", "ml_event_category(stream).size;", "path")

-- Keys are held that should not be, or the other way round. --------------------------------------

bug("an event that stops leaves keys held", "projection/projection_apply.c",
  "if (code) ml_projection_hold_first(p, held);", "(void)held;", "projection")
bug("a held key goes on", "projection/projection_apply.c",
  "if (p->held_items.size > 0 && ml_keys_has(p->held, key)) {", "if (false) {", "projection")
bug("a set that was cut finds nothing", "projection/keys.c",
  "    fill_slots(keys);\n}\n\nstatic bool grow", "}\n\nstatic bool grow", "keys")
bug("a key stays held for an event that was skipped just before the end", "projection/projector.c",
  "    p->again = p->again || ml_projector_holds_skipped(p);\n", "", "projector")
bug("what stands behind a note is passed over", "projection/projection_note.c",
  "return cursor.at == cursor.end;", "return true;", "projection")

-- Other code is taken for the same, or the same for other. ---------------------------------------

bug("a moved line is another function", "projection/same_code.c",
  "    read_size(r);                         /* the lines */\n", "    take_size(r);\n", "same")
bug("who shares a variable is not seen", "projection/same.c",
  "        if (was_met(w, 'v')) lua_pop(L, 1);\n        else write_value(w, depth);",
  "        lua_pop(L, 1);\n        write_value(w, depth);", "same")
bug("changed methods of strings are not seen", "projection/same.c",
  "    write_globals(w);\n", "", "same")
bug("any function of the same last name is the global", "projection/same.c",
  "bool other = known[0] != '.' || strcmp(known + 1, key->text) != 0;",
  "const char *dot = strrchr(known, '.'); bool other = dot == NULL || strcmp(dot + 1, key->text) != 0;",
  "same")
bug("methods of strings are those of what is called string", "projection/same.c",
  "if (luaL_getmetafield(w->L, -1, \"__index\") != LUA_TNIL) write_value(w, ML_SAME_DEPTH);", "",
  "same")

-- A wrong projection is loaded. -----------------------------------------------------------------

bug("rows are not held against each other", "projection/rehearse.c",
  "else hold_against(r, event);", "", "rehearse")
bug("both sandboxes have the same past", "projection/rehearse.c",
  "if (!code && count > 0) code = warm_up(&r, &selection, count);", "", "rehearse")
bug("sessions by occurred need no merge", "rules/shape_projection.c",
  "else if (joins && !has(s, \"merge\"))", "else if (false)", "shape")
bug("columns that differ in case are not always seen", "rules/shape_projection.c",
  "for (size_t m = 0; m < n; m++)\n        if (strcasecmp", "for (size_t m = n - 1; m < n; m++)\n        if (strcasecmp", "shape")
bug("projections are not linted", "rules/lint.c",
  "if (ml_unit_runs(pack->units[n])) lint_unit(&l, pack->units[n]);",
  "if (pack->units[n]->kind == ML_UNIT_AGGREGATE) lint_unit(&l, pack->units[n]);", "shape")

-- A row that stays a table is another than one that is decoded and encoded. -------------------------

bug("a row that a function inside has got stays a table", "rules/bytecode.c",
  "parameter > 7 || (r.captured >> parameter & 1)) return false;", "parameter > 7) return false;",
  "hot")
bug("a field with a name that is made is not decoded", "rules/bytecode.c",
  "if (op != OP_GETFIELD) return false;", "if (op != OP_GETFIELD) return true;", "hot")
bug("texts stay that would come back as bytes", "projection/projection_hot.c",
  "if (text.size > *left || !ml_unpack_utf8(text)) return false;",
  "if (text.size > *left) return false;", "hot")
bug("names without end stay", "projection/projection_hot.c",
  "is_plain(L, top + 1, &left) && is_plain", "is_plain", "hot")
bug("keys are held while rows are half changed", "projection/projection_apply.c",
  "a.code == ML_SCRIPT_ERROR && !a.unsure && a.has_key", "a.code == ML_SCRIPT_ERROR && a.has_key",
  "hot")
bug("a row that is a table is not written", "projection/projection_hot.c",
  "*flags_of(p, number) |= CHANGED;", "(void)p;", "hot")
bug("what a handler left half changed stays", "projection/projection_apply.c",
  "if (a.code == ML_SCRIPT_ERROR && a.unsure)", "if (false)", "hot")
bug("whatif folds once what differs", "projection/whatif_fold.c",
  "return !is_marked(two, key);", "return is_marked(two, key) || true;", "hot")

-- Copies of views are not there, or show another past. --------------------------------------------

bug("a look begins with what came later", "projection/projector_kept.c",
  "        if (kept.at[n] > most) continue;\n", "        (void)most;\n", "kept")
bug("a copy is believed by its name", "projection/projector_kept.c",
  "if (stats.position >= least && stats.position <= most) return ML_OK;",
  "if (least <= most) return ML_OK;", "kept")
bug("copies are kept while keys are held", "projection/projector_kept.c",
  "return held.held == 0;", "return true;", "kept")
bug("copies are without end", "projection/kept.c",
  "        ml_kept_remove(dir, kept.at[ml_kept_spare(&kept)]);\n", "", "kept")
bug("all copies but the last ones go", "projection/kept.c",
  "if (part < least) spare = n, least = part;", "if (n == 0) spare = n, least = part;", "kept")
bug("a view that is not believed begins at zero", "projection/projector.c",
  "    if (!code) code = ml_projector_open_kept(p, why);\n",
  "    if (!code) code = ML_NOT_FOUND;\n", "kept")
bug("an empty view beside copies is believed", "projection/projector.c",
  "if (code || p->kept.count == 0) return code;", "return code;", "kept")
bug("a look begins with a view that has gone on", "projection/projector_kept.c",
  "return believe(p, code, 0, options->past_at, why);",
  "return believe(p, code, 0, UINT64_MAX, why);", "process")

return bugs
