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

-- A wrong projection is loaded. -----------------------------------------------------------------

bug("rows are not held against each other", "projection/rehearse.c",
  "else hold_against(r, event);", "", "rehearse")
bug("both sandboxes have the same past", "projection/rehearse.c",
  "if (!code && count > 0) code = warm_up(&r, &selection, count);", "", "rehearse")
bug("sessions by occurred need no merge", "rules/shape_projection.c",
  "else if (joins && !has(s, \"merge\"))", "else if (false)", "shape")
bug("projections are not linted", "rules/lint.c",
  "if (ml_unit_runs(pack->units[n])) lint_unit(&l, pack->units[n]);",
  "if (pack->units[n]->kind == ML_UNIT_AGGREGATE) lint_unit(&l, pack->units[n]);", "shape")

return bugs
