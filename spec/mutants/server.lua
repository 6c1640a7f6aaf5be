--- Planted bugs of the daemon, each noticed by a spec; the form is told in list.lua.
-- The comment over a group says what would happen to somebody.
--
-- luacheck: ignore 631 (source lines are quoted whole)
local bugs = {}
local function bug(one) bugs[#bugs + 1] = one end

local PUSH, SIGNALS = "spec/server/push_spec.lua", "spec/server/signals_spec.lua"
local READ, APPEND = "spec/server/methods_read_spec.lua", "spec/server/methods_append_spec.lua"
local DISPATCH, SERVER = "spec/server/dispatch_spec.lua", "spec/server/server_spec.lua"
local DOCUMENT = "spec/server/document_spec.lua"

-- A subscriber misses events, gets some twice, or more than it can take. ------------------------

bug { name = "credit is never used up", file = "core/server/push.c",
  from = "if (of->bounded) of->credit -= count;",
  to = "",
  killed_by = PUSH }

bug { name = "granted credit replaces what is left", file = "core/server/push.c",
  from = "? UINT64_MAX : of->credit + (uint64_t)events;",
  to = "? UINT64_MAX : (uint64_t)events;",
  killed_by = PUSH }

bug { name = "granted credit wakes nobody", file = "core/server/push.c",
  from = "    look_again(of);\n    if (!call->request)",
  to = "    if (!call->request)",
  killed_by = PUSH }

bug { name = "credit bounds who asked for no bound", file = "core/server/push.c",
  from = "of->bounded = bounded;",
  to = "of->bounded = bounded || true;",
  killed_by = PUSH }

bug { name = "who is left over by a turn of the loop is forgotten", file = "core/server/push.c",
  from = "    server->next_served = of;\n",
  to = "",
  killed_by = PUSH }

bug { name = "a subscription starts one off", file = "core/server/push.c",
  from = "*after = (uint64_t)position;",
  to = "*after = (uint64_t)position + 1;",
  killed_by = PUSH }

bug { name = "a subscription from the end starts at the start", file = "core/server/push.c",
  from = "*after = head.position;",
  to = "*after = 0;",
  killed_by = PUSH }

bug { name = "the last event of a turn's share is lost", file = "core/server/push.c",
  from = "        conn->out.data[begin + 2] = (uint8_t)count;",
  to = "        conn->out.data[begin + 2] = (uint8_t)(count & 0xfe);",
  killed_by = PUSH }

bug { name = "after unsubscribe events are still pushed", file = "core/server/push.c",
  from = "    free_subscription(of);\n    ml_buf *out",
  to = "    ml_buf *out",
  killed_by = PUSH }

bug { name = "a congested connection is still pushed to", file = "core/server/push.c",
  from = "if (of->failed || room == 0) return false;\n    if (room > PUSH_BYTES) room = PUSH_BYTES;",
  to = "if (of->failed) return false;\n    room = PUSH_BYTES;",
  killed_by = PUSH }

bug { name = "anybody may end anybody's subscription", file = "core/server/follow.c",
  from = "        if (of->id == (uint64_t)id) return of;",
  to = "        if (of->id >= 1) return of;",
  killed_by = PUSH }

bug { name = "a connection may have any number of subscriptions", file = "core/server/follow.c",
  from = "if (call->conn->subscription_count < SUBSCRIPTIONS_MAX) return ML_OK;",
  to = "if (call->conn->subscription_count < UINT32_MAX) return ML_OK;",
  killed_by = PUSH }

bug { name = "a subscription that ended is counted for ever", file = "core/server/follow.c",
  from = "    of->conn->subscription_count--;\n",
  to = "",
  killed_by = PUSH }

bug { name = "system streams leak into all", file = "core/server/selection.c",
  from = "if (!code) code = ml_params_bool(params, \"system\", &selection->system, why);",
  to = "if (!code) selection->system = true;",
  killed_by = PUSH }

bug { name = "the category filter is ignored", file = "core/server/selection.c",
  from = "if (!code) code = ml_params_str(params, \"category\", &selection->category, why);",
  to = "",
  killed_by = READ }

bug { name = "a query's tags are ignored", file = "core/server/selection.c",
  from = "&items[n].tags, &items[n].tag_count, why);",
  to = "&items[n].tags, &items[n].tag_count, why), items[n].tag_count = 0;",
  killed_by = READ }

-- A subscriber believes that it has seen everything, and has not. ---------------------------------

bug { name = "caught_up is told before the head", file = "core/server/push.c",
  from = "if (at_head && !of->caught_up) {",
  to = "if (!code || (at_head && !of->caught_up)) {",
  killed_by = PUSH }

bug { name = "caught_up is told to whoever has no credit left", file = "core/server/push.c",
  from = "(starved && !code && ml_cursor_position(of->cursor) >= head)",
  to = "(starved && !code && head > 0)",
  killed_by = PUSH }

bug { name = "caught_up waits for credit that it does not need", file = "core/server/push.c",
  from = "code == ML_END || (starved && !code && ml_cursor_position(of->cursor) >= head)",
  to = "code == ML_END && head < UINT64_MAX",
  killed_by = PUSH }

bug { name = "caught_up is told once and never again", file = "core/server/push.c",
  from = "        of->caught_up = false;\n",
  to = "",
  killed_by = PUSH }

bug { name = "checkpoints are never told", file = "core/server/push.c",
  from = "ml_cursor_position(of->cursor) > of->told && !of->failed",
  to = "ml_cursor_position(of->cursor) > UINT64_MAX - 1 && !of->failed",
  killed_by = PUSH }

bug { name = "an event that cannot be read is passed over", file = "core/server/push.c",
  from = "if (code != ML_OK && code != ML_END) tell_failure(of, ml_why(conn->server->store));",
  to = "",
  killed_by = PUSH }

bug { name = "more credit goes on behind an event that could not be read", file = "core/server/push.c",
  from = "    of->failed = true;\n",
  to = "",
  killed_by = PUSH }

bug { name = "events come as maps whatever hello said", file = "core/server/methods_read.c",
  from = "if (events.size > 0) conn->maps = !array;",
  to = "if (events.size > 0) conn->maps = true;",
  killed_by = PUSH }

bug { name = "a push is not what its document says", file = "core/server/push.c",
  from = "ml_pack_text(out, \"error\");",
  to = "ml_pack_text(out, \"why\");",
  killed_by = DOCUMENT }

-- A signal is heard by the wrong ones, or lost without a word. ----------------------------------------

bug { name = "the wildcard * lets two tokens through", file = "core/server/signals.c",
  from = "if (at->star != NULL) match(at->star, tokens + 1, count - 1, t);",
  to = "if (at->star != NULL) match(at->star, tokens + 1, count - 1, t);\n    if (at->star != NULL && count > 1) match(at->star, tokens + 2, count - 2, t);",
  killed_by = SIGNALS }

bug { name = "the wildcard > is content with no token", file = "core/server/signals.c",
  from = "        deliver(at->here, t);\n",
  to = "        deliver(at->here, t);\n        deliver(at->rest, t);\n",
  killed_by = SIGNALS }

bug { name = "a wildcard hides the listeners of the very name", file = "core/server/signals.c",
  from = "if (named != NULL) match(named, tokens + 1, count - 1, t);",
  to = "if (named != NULL && at->star == NULL) match(named, tokens + 1, count - 1, t);",
  killed_by = SIGNALS }

bug { name = "a signal may have wildcards", file = "core/server/signals.c",
  from = "if (wild && !pattern) return false;",
  to = "",
  killed_by = SIGNALS }

bug { name = "NO_LISTENERS is never said", file = "core/server/signals.c",
  from = "if (!code && reply.size > 0 && t.listeners == 0)",
  to = "if (!code && reply.size > 0 && t.listeners > UINT32_MAX)",
  killed_by = SIGNALS }

bug { name = "a request does not carry its reply", file = "core/server/signals.c",
  from = "telling t = {.entries = reply.size > 0 ? 3 : 2};",
  to = "telling t = {.entries = 2};",
  also = { { "    if (reply.size > 0) {\n        ml_pack_text(&t.body, \"reply\");", "    if (t.entries == 3) {\n        ml_pack_text(&t.body, \"reply\");" } },
  killed_by = SIGNALS }

bug { name = "a gap counts what it has counted before", file = "core/server/signals.c",
  from = "of->missed_told = of->missed;",
  to = "of->missed_told = of->missed - 1;",
  killed_by = SIGNALS }

bug { name = "a gap is never told", file = "core/server/signals.c",
  from = "    tell_gap(of);\n",
  to = "    if (entries > 100) tell_gap(of);\n",
  killed_by = SIGNALS }

bug { name = "drop_new drops the old", file = "core/server/signals.c",
  from = "*chosen = DROP_NEW;",
  to = "*chosen = DROP_OLD;",
  killed_by = SIGNALS }

bug { name = "a slow listener is never disconnected", file = "core/server/signals.c",
  from = "*chosen = DISCONNECT;",
  to = "*chosen = DROP_NEW;",
  killed_by = SIGNALS }

bug { name = "one of many listeners is not found", file = "core/server/signals.c",
  from = "if (compare(of->children[middle]->name, name) < 0) from = middle + 1;",
  to = "if (compare(of->children[middle]->name, name) <= 0) from = middle + 1;",
  killed_by = SIGNALS }

bug { name = "a listener hears on after unlisten", file = "core/server/signals.c",
  from = "    uint64_t missed = of->missed;\n    free_listener(of);",
  to = "    uint64_t missed = of->missed;",
  killed_by = SIGNALS }

-- An append is lost, or its answer is. -----------------------------------------------------------------

bug { name = "an append that found the group full is lost", file = "core/server/conn.c",
  from = "            conn->held = true;\n",
  to = "            conn->held = true;\n            used += message.size;\n",
  killed_by = APPEND }

bug { name = "a held append is counted each time it is looked at", file = "core/server/dispatch.c",
  from = "call->server->requests += *ended != ML_HOLD;",
  to = "call->server->requests++;",
  killed_by = APPEND }

bug { name = "a held connection is never resumed", file = "core/server/conn.c",
  from = "if (!full || !conn->held) ml_conn_resume(conn);",
  to = "if (!conn->held) ml_conn_resume(conn);",
  killed_by = APPEND }

bug { name = "any number of appends may be in flight", file = "core/server/conn.c",
  from = "conn->held || conn->in_flight >= IN_FLIGHT_MAX || full",
  to = "conn->held || full",
  killed_by = APPEND }

bug { name = "an append is answered before it is synced", file = "core/server/methods_append.c",
  from = "    if (server->draining) {",
  to = "    proposal.durability = ML_OS;\n    if (server->draining) {",
  killed_by = APPEND }

bug { name = "expected is not looked at", file = "core/server/methods_append.c",
  from = "if (!code) code = read_expected(params, &write->expected, r->why);",
  to = "if (!code) code = read_expected(params, &write->expected, r->why);\n    write->expected = ML_ANY;",
  killed_by = APPEND }

bug { name = "a condition is not looked at", file = "core/server/methods_append.c",
  from = "    proposal->condition = query;\n",
  to = "    proposal->condition = NULL;\n",
  killed_by = APPEND }

bug { name = "a condition begins one event late", file = "core/server/methods_append.c",
  from = "proposal->after = (uint64_t)after;",
  to = "proposal->after = (uint64_t)after + 1;",
  killed_by = APPEND }

bug { name = "a retry does not know that it is one", file = "core/server/methods_append.c",
  from = "ml_pack_map(out, receipt->duplicate ? 5 : 4);",
  to = "ml_pack_map(out, 4);",
  also = { { "if (!receipt->duplicate) return;", "if (receipt != NULL) return;" } },
  killed_by = APPEND }

bug { name = "an append says the first revision of its stream", file = "core/server/methods_append.c",
  from = "ml_pack_int(out, (int64_t)receipt->revisions[n]);",
  to = "ml_pack_int(out, (int64_t)receipt->revisions[0]);",
  killed_by = APPEND }

bug { name = "draining refuses nothing", file = "core/server/methods_append.c",
  from = "if (server->draining) {",
  to = "if (server->stopped) {",
  killed_by = SERVER }

bug { name = "draining drops the answers under way", file = "core/server/server.c",
  from = "    if (server->store != NULL) ML_IGNORE(ml_settle(server->store, true));\n",
  to = "",
  also = { { "if (conn->in_flight > 0 || conn->flying.size > 0) return false;", "if (conn->in_flight > IN_FLIGHT_MAX) return false;" } },
  killed_by = SERVER }

bug { name = "a command waits for its daemon's workers", file = "core/server/spawn.c",
  from = "server->options->client >= 0 ? UV_IGNORE : UV_INHERIT_FD",
  to = "UV_INHERIT_FD",
  killed_by = "spec/cli/serve_spec.lua" }

bug { name = "a stale socket is not removed", file = "core/server/server.c",
  from = "    unlink(server->socket_path);\n    mode_t",
  to = "    mode_t",
  killed_by = SERVER }

bug { name = "the socket stays when the daemon goes", file = "core/server/server.c",
  from = "uv_close((uv_handle_t *)&server->unix_socket, NULL);",
  to = "server->unix_socket.data = server;",
  killed_by = SERVER }

bug { name = "the ready line says the port that was asked for", file = "core/server/server.c",
  from = "host, ntohs(port));",
  to = "host, ntohs(port) & 0);",
  killed_by = SERVER }

-- A reader goes on in the wrong place. --------------------------------------------------------------------

bug { name = "end is never said", file = "core/server/methods_read.c",
  from = "if (p->ended && !out->failed) out->data[map->end] = 0xc3;",
  to = "",
  killed_by = READ }

bug { name = "end is said of every page", file = "core/server/methods_read.c",
  from = "p->ended = p->ended || ml_cursor_at_end(cursor);",
  to = "p->ended = true;",
  killed_by = READ }

bug { name = "next repeats the last event, backward", file = "core/server/methods_read.c",
  from = "(at > 0 ? at - 1 : 0)",
  to = "at",
  killed_by = READ }

bug { name = "next repeats the last event, forward", file = "core/server/methods_read.c",
  from = " : 0) : at + 1;",
  to = " : 0) : at;",
  killed_by = READ }

bug { name = "max_bytes is ignored", file = "core/server/methods_read.c",
  from = "max_bytes < READ_BYTES_MAX ? (uint64_t)max_bytes : READ_BYTES_MAX;",
  to = "max_bytes < READ_BYTES_MAX ? READ_BYTES_MAX : READ_BYTES_MAX;",
  killed_by = READ }

bug { name = "a page may be of any size", file = "core/server/methods_read.c",
  from = "max_bytes < READ_BYTES_MAX ? (uint64_t)max_bytes : READ_BYTES_MAX;",
  to = "(uint64_t)max_bytes;",
  killed_by = READ }

bug { name = "the pages of streams repeat one", file = "core/server/methods_read.c",
  from = "l->last = info->first;",
  to = "l->last = info->first - 1;",
  killed_by = READ }

bug { name = "the list of streams has no end", file = "core/server/methods_read.c",
  from = "if (l.count == (uint32_t)l.limit) ml_pack_int(l.out, (int64_t)l.last);",
  to = "if (l.count > 0) ml_pack_int(l.out, (int64_t)l.last);",
  killed_by = READ }

-- Somebody is let in, or believed, who should not be. ---------------------------------------------------------

bug { name = "the beginning of the token will do", file = "core/server/methods_read.c",
  from = "unsigned differs = given.size != size;",
  to = "unsigned differs = given.size == 0;",
  killed_by = DISPATCH }

bug { name = "the length of the token will do", file = "core/server/methods_read.c",
  from = "differs |= (unsigned)((const uint8_t *)given.data)[n] ^ (uint8_t)token[size > 0 ? n % size : 0];",
  to = "differs |= n >= size;",
  killed_by = DISPATCH }

bug { name = "hello is not required", file = "core/server/dispatch.c",
  from = "if (!call->conn->known && (method == NULL || method->run != ml_methods_hello)) {",
  to = "if (!call->conn->known && method == NULL) {",
  killed_by = DISPATCH }

bug { name = "a stranger may try one token after the other", file = "core/server/dispatch.c",
  from = "return call->conn->known || *ended != ML_REFUSED;",
  to = "return true;",
  killed_by = DISPATCH }

bug { name = "a stranger's notifications are heard", file = "core/server/dispatch.c",
  from = "if (!call->conn->known || !ml_unpack_str(cursor, &name)) return;",
  to = "call->conn->known = true;\n    if (!ml_unpack_str(cursor, &name)) return;",
  killed_by = DISPATCH }

bug { name = "an error has the msgid of no request", file = "core/server/dispatch.c",
  from = "ml_dispatch_refuse(call->conn, call->msgid, call->why.code, call->why.sentence);",
  to = "ml_dispatch_refuse(call->conn, 0, call->why.code, call->why.sentence);",
  killed_by = DISPATCH }

bug { name = "a notification is answered", file = "core/server/dispatch.c",
  from = "method->run != ml_methods_append) return;",
  to = "method->run != ml_methods_append && method->run != ml_methods_head) return;",
  killed_by = DISPATCH }

bug { name = "the frame limit is ignored", file = "core/base/wire.c",
  from = "if (used > limits->bytes || h->content > limits->bytes - used) return true;",
  to = "if (used > UINT32_MAX) return true;",
  killed_by = DISPATCH }

bug { name = "the depth limit is one too low", file = "core/server/conn.c",
  from = "{.bytes = FRAME_MAX, .depth = ML_WIRE_DEPTH_MAX};",
  to = "{.bytes = FRAME_MAX, .depth = ML_WIRE_DEPTH_MAX - 1};",
  killed_by = DISPATCH }

bug { name = "the last of two equal parameters counts", file = "core/server/params.c",
  from = "if (seen & UINT32_C(1) << n)",
  to = "if (seen == UINT32_MAX)",
  killed_by = DISPATCH }

bug { name = "an unknown parameter is ignored", file = "core/server/params.c",
  from = "if (names[n] == NULL) return refuse_name(what, key, names, why);",
  to = "if (names[n] == NULL) {\n            if (!ml_unpack_skip(&cursor)) return ML_BAD_REQUEST;\n            continue;\n        }",
  killed_by = DISPATCH }

bug { name = "anybody may write what only the daemon says", file = "core/server/methods_append.c",
  from = "if (!code) code = check_stream(write->stream, r->why);",
  to = "if (!code && r->writes > 0) code = check_stream(write->stream, r->why);",
  killed_by = APPEND }

-- Rules that are too slow, or stopped, and clients that do not read. -----------------------------

local WORKERS, COMMAND = "spec/server/workers_spec.lua", "spec/server/command_spec.lua"

bug { name = "a unit is stopped for ever", file = "core/server/rules.c",
  from = "    unit->stops++;\n",
  to = "",
  killed_by = WORKERS }

bug { name = "a unit that came to its end in time is blamed for what was before", file = "core/server/rules.c",
  from = "if (unit != NULL && !ml_rules_quarantined(unit)) unit->stops = 0;",
  to = "(void)unit;",
  killed_by = WORKERS }

bug { name = "a quarantined unit is gone on with", file = "core/server/rules.c",
  from = "    ml_workers_quarantine(server, unit->unit, why.sentence);\n",
  to = "",
  killed_by = WORKERS }

bug { name = "what no worker has begun keeps the daemon from stopping", file = "core/server/server.c",
  from = "    ml_workers_drain(server);\n",
  to = "",
  killed_by = WORKERS }

bug { name = "a stopped worker is waited for", file = "core/server/crew.c",
  from = "strncmp(name_end, \") T\", 3) == 0;",
  to = "strncmp(name_end, \") ?\", 3) == 0;",
  killed_by = WORKERS }

bug { name = "answers of workers are promised to who does not read", file = "core/server/later.c",
  from = "    conn->promised += promised;\n",
  to = "    promised = 0;\n",
  killed_by = COMMAND }

bug { name = "a rule is blamed for a client's meta", file = "core/server/requests.c",
  from = "if (meta.size > ML_COMMANDS_META_MAX)",
  to = "if (meta.size > SIZE_MAX / 2)",
  killed_by = COMMAND }

-- Projections: a reader steps back, or waits for nothing. ----------------------------------------

local PROJECTIONS = "spec/server/projections_spec.lua"

bug { name = "an older answer is passed on behind a newer one", file = "core/server/readings.c",
  from = "(!code && position < reading->of->served)",
  to = "false",
  killed_by = PROJECTIONS }

bug { name = "who wants to see his own write does not", file = "core/server/readings.c",
  from = "if (live->position >= reading->after) return true;",
  to = "return true;",
  killed_by = PROJECTIONS }

bug { name = "a view that is built anew is asked at once", file = "core/server/swaps.c",
  from = "g->ready = whole && g->position >= later_of(p->served, g->reached);",
  to = "g->ready = whole || g->position >= p->served;",
  killed_by = PROJECTIONS }

bug { name = "what a dead projector was asked is lost", file = "core/server/generations.c",
  from = "        ml_readings_again((ml_reading *)ask);\n",
  to = "        (void)0;\n",
  killed_by = PROJECTIONS }

bug { name = "a rollback holds until the restart", file = "core/server/projections.c",
  from = "if (p->refused_at < p->version_since) p->refused[0] = '\\0';",
  to = "p->refused[0] = '\\0';",
  killed_by = PROJECTIONS }

bug { name = "which version is live is not written down", file = "core/server/swaps.c",
  from = "    ml_folders_write(p);\n",
  to = "",
  killed_by = PROJECTIONS }

bug { name = "skipped events come back with a restart", file = "core/server/ledger.c",
  from = "if (strcmp(p->skips[n].hash, hash) != 0) continue;",
  to = "continue;",
  killed_by = PROJECTIONS }

bug { name = "a projection that begins now begins anew with each version", file = "core/server/projections.c",
  from = "    if (p->tracing) p->since = pack->position;\n",
  to = "",
  killed_by = PROJECTIONS }

bug { name = "a view is built in a folder that is being removed", file = "core/server/projections.c",
  from = "    while (ml_generations_busy(p, folder));\n",
  to = "    while (false);\n",
  also = { { "    if (folder != NULL && ml_generations_busy(p, folder)) folder = NULL;\n", "" } },
  killed_by = PROJECTIONS }

bug { name = "a shorter log is never as far as the view was", file = "core/server/projections.c",
  from = "p->found.position < most ? p->found.position : most",
  to = "most > 0 ? p->found.position : most",
  killed_by = PROJECTIONS }

bug { name = "what is written does not hold while a rollback waits", file = "core/server/ledger.c",
  from = "    if (!p->defined)\n",
  to = "    if (!p->defined || p->rolling)\n",
  killed_by = PROJECTIONS }

bug { name = "a rollback waits for rules that are not wanted any more", file = "core/server/projections.c",
  from = "        ml_swaps_abandon(p, ML_NOT_FOUND, \"other rules have become active meanwhile\");\n",
  to = "",
  killed_by = PROJECTIONS }

bug { name = "each page of the past is replayed", file = "core/server/looks.c",
  from = "    if (code) leave(look);\n",
  to = "    leave(look);\n",
  killed_by = PROJECTIONS }

bug { name = "a look at the past stays for ever", file = "core/server/looks.c",
  from = "if (now - look->idle_ms >= IDLE_MS) leave(look);",
  to = "(void)now;",
  killed_by = PROJECTIONS }

bug { name = "a look at the past stays on the disk", file = "core/server/looks.c",
  from = "    ml_folders_remove(process->server, look->path);\n",
  to = "",
  killed_by = PROJECTIONS }

-- Hostile rules: the culprit is somebody else, or nobody. ----------------------------------------

local HOSTILE = "spec/hostile/rules_daemon_spec.lua"

bug { name = "an upcaster keeps the event it was given", file = "core/rules/engine_upcast.c",
  from = "    ml_envelope_clear(ml_sandbox_lua(sandbox)); /* the event is nobody's any more */\n",
  to = "",
  killed_by = HOSTILE }

bug { name = "a worker answers more than the daemon takes", file = "core/rules/worker.c",
  from = "if (w->answer.size > ANSWER_MAX)",
  to = "if (w->answer.size > SIZE_MAX - 1)",
  killed_by = HOSTILE }

bug { name = "what an activation's event says is believed", file = "core/server/packs.c",
  from = "    return same;\n}",
  to = "    return true;\n}",
  killed_by = HOSTILE }

bug { name = "a state that cannot be kept is nobody's", file = "core/rules/aggregate.c",
  from = "unit->suspects == 1 ? unit->suspect : NULL",
  to = "NULL",
  killed_by = HOSTILE }

bug { name = "an id may hold anything", file = "core/server/requests.c",
  from = "    code = ml_event_check_name(ml_commands_stream(c), ML_STREAM_BYTES_MAX, \"stream\", why);\n",
  to = "",
  killed_by = HOSTILE }

return bugs
