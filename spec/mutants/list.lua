--- Planted bugs: each is one small change to the store, and the trial that must notice it.
--
-- luacheck: ignore 631 (source lines are quoted whole)
-- `from` stands exactly once in `file` and is replaced by `to`; a bug of two places has
-- `also` = { { from, to }, … } in the same file. `killed_by` are words for the crash program, or
-- a spec.
-- The comment over a group says what would happen to somebody.

local bugs = {}
local function bug(one) bugs[#bugs + 1] = one end

-- Power fails, and what was acknowledged is gone. ------------------------------------------

bug { name = "no fdatasync", file = "core/log/writer.c",
  from = "code = ml_disk_sync(log->disk, log->file, log->active->path, why);",
  to = "code = ML_OK;",
  killed_by = "simulate --workload single" }

bug { name = "acknowledged before it is synced", file = "core/store/commit.c",
  from = "batch->group.sync = batch->sync;",
  to = "batch->group.sync = batch->sync && batch->group.count > 1;",
  killed_by = "simulate --workload single" }

bug { name = "flush does not sync", file = "core/store/commit.c",
  from = "if (code || level == ML_OS) return code;",
  to = "if (code || level <= ML_OS) return code;",
  killed_by = "simulate --workload levels" }

bug { name = "no sync of the directory after a rename", file = "core/base/disk.c",
  from = "error = disk->ops->sync_dir(disk, dir);",
  to = "error = 0;",
  killed_by = "simulate --workload roll" }

bug { name = "no sync of the root directory", file = "core/log/recover.c",
  from = "return code ? code : sync_dir(log, \".\", why);",
  to = "return code;",
  killed_by = "simulate --workload single" }

bug { name = "recovery does not sync the log directory", file = "core/log/recover.c",
  from = "if (!code) code = sync_dir(log, \"log\", why);",
  to = "",
  killed_by = "faulty --workload levels" }

bug { name = "a segment gets its name before it is synced", file = "core/log/writer.c",
  from = "if (!code) code = ml_disk_sync(log->disk, *file, aside, why);",
  to = "",
  killed_by = "simulate --workload roll" }

bug { name = "segments left behind are not synced before a synced frame",
  file = "core/log/writer.c",
  from = "ml_code code = settle_behind(log, true, why);",
  to = "ml_code code = settle_behind(log, false, why);",
  killed_by = "simulate --workload roll --states 60000" }

bug { name = "a footer comes before what it speaks of", file = "core/log/seal.c",
  from = "ml_code code = ml_disk_sync(disk, file, path, &job->why);",
  to = "ml_code code = ML_OK;",
  killed_by = "faulty --workload roll" }

bug { name = "what recovery keeps is not written and synced again", file = "core/log/recover.c",
  from = "if (!code && torn) code = rewrite_unsynced(r, why);",
  to = "",
  killed_by = "faulty --workload levels" }

bug { name = "closing says yes although the log is fenced", file = "core/log/log.c",
  from = "bool write = !log->options.read_only && !log->damaged;",
  to = "bool write = !log->options.read_only && !log->damaged && !atomic_load(&log->fenced);",
  killed_by = "faulty --workload pipeline --seed 6" }

-- Power fails, and a healthy store is called damaged. -----------------------------------------

bug { name = "the WATERMARK is written before the sync", file = "core/log/writer.c",
  from = "    ml_code code = settle_behind(log, true, why);\n",
  to = "    log->mark.durable = log->sequence - 1;\n    ml_writer_mark(log);\n"
    .. "    ml_code code = settle_behind(log, true, why);\n",
  killed_by = "simulate --workload single" }

bug { name = "frames claim too much to be synced", file = "core/log/writer.c",
  from = ".durable = log->mark.durable,",
  to = ".durable = log->sequence - 1,",
  killed_by = "simulate --workload levels" }

bug { name = "a torn tail is not zeroed", file = "core/log/recover.c",
  from = "code = write_zeros(log, file, segment->path, from, to, why);",
  to = "code = ML_OK;",
  killed_by = "simulate --workload crash --states 40000" }

bug { name = "segments behind a torn one are kept", file = "core/log/recover.c",
  from = "if (torn) code = drop_later_segments(r, why);",
  to = "",
  killed_by = "simulate --workload roll --states 60000" }

-- Bytes rot, and nobody says so. --------------------------------------------------------------

bug { name = "the crc of a frame's header is not looked at", file = "core/log/frame.c",
  from = "if (frame->crc != header_crc(at, salt)) return false;",
  to = "(void)salt;",
  killed_by = "flip --part bits --every 5" }

bug { name = "the crc of a body is not looked at", file = "core/log/frame.c",
  from = "ml_crc32c(crc, body + offset, frame->body - offset) == frame->body_crc;",
  to = "crc != 1;",
  killed_by = "flip --part bits --every 5" }

bug { name = "padding is not covered", file = "core/log/frame.c",
  from = "frame->body_crc = ml_crc32c(crc, body + size, padded - size);",
  to = "frame->body_crc = crc;",
  also = { { "ml_crc32c(crc, body + offset, frame->body - offset) == frame->body_crc;", "crc == frame->body_crc;" } },
  killed_by = "flip --part bits --every 3" }

bug { name = "the crc of a record is not looked at", file = "core/log/frame.c",
  from = "if (ml_get_u32(at + 4) != ml_crc32c(0, data, size)) return false;",
  to = "",
  killed_by = "flip --part bits --every 5" }

bug { name = "the salt is left out", file = "core/log/segment.c",
  from = "segment->salt = ml_crc32c(0, bytes, sizeof bytes);",
  to = "segment->salt = ml_crc32c(0, bytes + ML_LOG_ID_SIZE, 8);",
  killed_by = "flip --part files --every 1009" }

bug { name = "a frame's length is not held against the file", file = "core/log/frame.c",
  from = "return ml_frame_size(frame) <= left;",
  to = "return true;",
  killed_by = "flip --part files --every 1009" }

bug { name = "the sequence of frames is not looked at", file = "core/log/segment.c",
  from = "if (frame->sequence != walk->sequence || frame->first != walk->position) return false;",
  to = "if (frame->first != walk->position) return false;",
  killed_by = "flip --part files --every 1009" }

bug { name = "the chain of frames is not looked at", file = "core/log/segment.c",
  from = "if (frame->previous != walk->previous) return false;",
  to = "",
  killed_by = "flip --part files --every 1009" }

bug { name = "the log id of segments is not looked at", file = "core/log/recover.c",
  from = "if (memcmp(before->log, segment->log, ML_LOG_ID_SIZE) != 0)",
  to = "if (before->log == segment->log)",
  killed_by = "flip --part files --every 1009" }

bug { name = "a footer is not held against the next header", file = "core/log/recover.c",
  from = "if (footer.last + 1 == after->first && footer.sequence + 1 == after->sequence &&",
  to = "if (footer.last + 1 >= after->first ||",
  also = { { "footer.previous == after->previous)\n        return;", "footer.previous != after->previous)\n        return;" } },
  killed_by = "flip --part files --every 1009" }

bug { name = "a newer format is opened", file = "core/log/segment.c",
  from = "if (reader > ML_LOG_FORMAT)",
  to = "if (reader > ML_LOG_FORMAT + 1)",
  killed_by = "flip --part files --every 1009" }

bug { name = "the crc of the WATERMARK is not looked at", file = "core/log/watermark.c",
  from = "if (ml_get_u32(slot) != MAGIC || ml_get_u32(slot + AT_CRC) != slot_crc(slot)) return false;",
  to = "if (ml_get_u32(slot) != MAGIC) return false;",
  killed_by = "flip --part files --every 3" }

bug { name = "zeros behind the log are not verified", file = "core/log/check.c",
  from = "else if (clean) check_zeros(c, segment, c->walk.offset);",
  to = "(void)clean;",
  killed_by = "flip --part bits --every 101" }

-- Bytes rot, and recovery takes it for a torn tail: events are cut off. ---------------------------

bug { name = "nothing is looked for behind the first bad frame", file = "core/log/recover.c",
  from = "ml_code code = search_behind(r, why);",
  to = "ml_code code = ML_OK;\n    if (log->count == 0) code = search_behind(r, why);",
  killed_by = "simulate --workload single --states 40000" }

bug { name = "good frames are looked for at every 64th byte", file = "core/log/segment.c",
  from = "at + ML_FRAME_HEADER + ML_FRAME_TRAILER <= size; at += 8)",
  to = "at + ML_FRAME_HEADER + ML_FRAME_TRAILER <= size; at += 64)",
  killed_by = "simulate --workload single --states 40000" }

bug { name = "the WATERMARK does not count", file = "core/log/recover.c",
  from = "r->durable = r->mark.durable;",
  to = "r->durable = 0;",
  killed_by = "simulate --workload single --states 40000" }

bug { name = "a segment is sealed again without a look at its frames", file = "core/log/recover.c",
  from = "if (!atomic_load(&log->segments[n]->synced)) start = n;",
  to = "if (log->segments[n] == NULL) start = n;",
  killed_by = "simulate --workload import --states 60000" }

bug { name = "a segment whose successor is gone is written on", file = "core/log/recover.c",
  from = "else if (r->stop + 1 == log->count && read_footer(log, segment, &footer))",
  to = "else if (r->stop == log->count && read_footer(log, segment, &footer))",
  killed_by = "flip --part files --every 1009" }

-- A call of the disk fails, and the answer is wrong. ------------------------------------------------

bug { name = "a failed sync is tried again", file = "core/base/disk.c",
  from = "int error = disk->ops->sync(disk, file);",
  to = "int error = disk->ops->sync(disk, file);\n    if (error < 0) error = disk->ops->sync(disk, file);",
  killed_by = "faulty --workload single" }

bug { name = "an interrupted sync is taken for one that was made", file = "core/base/disk.c",
  from = "return error < 0 ? refuse(disk, error, \"sync\", path, why) : ML_OK;",
  to = "return error < 0 && error != -EINTR ? refuse(disk, error, \"sync\", path, why) : ML_OK;",
  killed_by = "faulty --workload single" }

bug { name = "a short write is taken for a whole one", file = "core/base/disk.c",
  from = "        if (moved < 0) return refuse(disk, moved, \"write\", path, why);\n        interrupts = 0;\n        at += moved;",
  to = "        if (moved < 0) return refuse(disk, moved, \"write\", path, why);\n        interrupts = 0;\n        moved = end - offset;\n        at += moved;",
  killed_by = "faulty --workload single" }

bug { name = "a short read is taken for the end of the file", file = "core/base/disk.c",
  from = "if (moved == 0) return ended_early(disk, path, offset, end, why);",
  to = "if (moved < (int64_t)(end - offset)) return ended_early(disk, path, offset, end, why);",
  killed_by = "faulty --workload reopen" }

bug { name = "a store goes on after a failed write", file = "core/store/commit.c",
  from = "        if (code) {\n            store->failed = true;\n            store->why = flying->why;",
  to = "        if (code) {\n            store->why = flying->why;",
  also = {}, file2 = "core/log/writer.c",
  from2 = "    atomic_store(&log->fenced, true);\n    if (why == NULL)", to2 = "    if (why == NULL)",
  killed_by = "faulty --workload single" }

bug { name = "a failed sync of the background does not fence the log", file = "core/log/seal.c",
  from = "atomic_store(&job->log->fenced, true);",
  to = "",
  killed_by = "faulty --workload roll" }

-- The disk is full, and something of the refused append stays. -----------------------------------------

bug { name = "a refused append uses up its positions", file = "core/store/store.c",
  from = "store->next = ml_log_position(store->log) + 1;\n    ml_heads_clear(&store->heads);\n    return fill_window(store);",
  to = "ml_heads_clear(&store->heads);\n    return fill_window(store);",
  killed_by = "simulate --workload full" }

bug { name = "a refused append moves the head of its stream", file = "core/store/store.c",
  from = "ml_heads_clear(&store->heads);\n    return fill_window(store);",
  to = "return fill_window(store);",
  killed_by = "simulate --workload full --states 60000" }

bug { name = "a refused append stays in the index", file = "core/store/commit.c",
  from = "ml_admit_retract(store, &flying->group, 0);",
  to = "ml_group_cut(&flying->group, 0);",
  killed_by = "simulate --workload full" }

-- Something is read, or admitted, that should not be. ------------------------------------------------------

bug { name = "readers see what is not settled", file = "core/store/cursor.c",
  from = "cursor->to = ml_log_position(store->log);",
  to = "cursor->to = store->next - 1;",
  killed_by = "simulate --workload pipeline" }

bug { name = "the anchor of an index run is not looked at", file = "core/index/index.c",
  from = "run->head.anchor == options->anchor(options->context, run->head.last);",
  to = "options->anchor != NULL;",
  killed_by = "flip --part files --every 1009" }

bug { name = "the crc of a line of a run is not looked at", file = "core/index/run.c",
  from = "return ml_get_u32(line + LINE_CONTENT) == ml_crc32c(0, line, LINE_CONTENT);",
  to = "return line != NULL;",
  killed_by = "flip --part files --every 3" }

bug { name = "the index misses an event's last tag", file = "core/store/admit.c",
  from = "for (size_t n = 0; !code && n < draft->tag_count; n++)",
  to = "for (size_t n = 0; !code && n + 1 < draft->tag_count; n++)",
  killed_by = "simulate --workload streams" }

bug { name = "the window of ids is one too short", file = "core/store/window.c",
  from = "if (window->last + 1 - window->first > window->size) window->first++;",
  to = "if (window->last + 1 - window->first >= window->size) window->first++;",
  killed_by = "simulate --workload retry" }

bug { name = "the expected revision does not see what is staged", file = "core/store/admit.c",
  from = "        ml_heads_put(&store->heads, streams[n].key,",
  to = "        if (store->filling->group.count <= write->count) ml_heads_put(&store->heads, streams[n].key,",
  killed_by = "simulate --workload pipeline" }

bug { name = "a condition does not see what is staged", file = "core/store/admit.c",
  from = "ml_finder_first(store, proposal->condition, from, store->next - 1,",
  to = "ml_finder_first(store, proposal->condition, from, ml_log_position(store->log),",
  killed_by = "simulate --workload pipeline --states 20000" }

-- The daemon and the rules have lists of their own.
for _, one in ipairs(dofile "spec/mutants/server.lua") do bug(one) end
for _, one in ipairs(dofile "spec/mutants/rules.lua") do bug(one) end
for _, one in ipairs(dofile "spec/mutants/projections.lua") do bug(one) end

return bugs
