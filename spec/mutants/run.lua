--- Plants one bug at a time and says who notices.
--
--     lua5.4 spec/mutants/run.lua [name]      all of list.lua, or those whose name holds this
--
-- The tree is copied once per job, so that each bug costs one compilation and one link; the
-- trial that is named must fail. A spec must pass before any bug is planted. With SHORT=1 in the
-- environment, a sample: every twentieth bug.
local bugs = dofile "spec/mutants/list.lua"

local JOBS = 2
local SECONDS_MAX = 120
local SAMPLE = os.getenv "SHORT" and 20 or 1

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "a"
  local _, kind, status = pipe:close()
  return text, kind == "exit" and status or 128 + status
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

--- Replaces `from`, which must be there exactly once.
local function replace(text, from, to, where)
  local first, last = text:find(from, 1, true)
  if not first then return nil, "`from` is not in " .. where end
  if text:find(from, last + 1, true) then return nil, "`from` is more than once in " .. where end
  return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

local function plant(tree, bug)
  local edits = { { bug.file, bug.from, bug.to } }
  for _, pair in ipairs(bug.also or {}) do edits[#edits + 1] = { bug.file, pair[1], pair[2] } end
  if bug.file2 then edits[#edits + 1] = { bug.file2, bug.from2, bug.to2 } end
  local kept = {}
  for _, edit in ipairs(edits) do
    local path = tree .. "/" .. edit[1]
    local text = read_file(path)
    kept[path] = kept[path] or text
    local changed, why = replace(text, edit[2], edit[3], edit[1])
    if not changed then return kept, why end
    write_file(path, changed)
  end
  return kept
end

--- A bug of the daemon is noticed by a spec, one of the store by the crash program.
local function is_for_spec(bug) return bug.killed_by:find "^spec/" ~= nil end

local function build(tree, for_spec)
  local targets = for_spec and "out/moonlog out/moonlog.so out/coretest.so" or "out/crash"
  return run(("make -s -C %s OUT=out %s"):format(tree, targets))
end

local function trial(tree, bug)
  local command = is_for_spec(bug)
    and 'MOONLOG_BUILD=out timeout -k 5 %d lua5.4 "$(command -v busted)" --no-keep-going %s'
    or "timeout %d out/crash %s"
  return run(("cd %s && " .. command):format(tree, SECONDS_MAX, bug.killed_by))
end

--- The line that says what failed.
local function verdict_of(text, status)
  return text:match "FAILED[^\n]*" or text:match "\n%a+ %-> [^\n]*\n([^\n]*)"
    or text:match "[^\n]+" or "status " .. status
end

--- Gives "killed", or what else became of the bug, and a word on how.
local function try(tree, bug)
  local kept, why = plant(tree, bug)
  local verdict, how = "stale", why
  if not why then
    local text, status = build(tree, is_for_spec(bug))
    if status ~= 0 then
      verdict, how = "does not compile", text:match "[^\n]*error[^\n]*" or text
    else
      text, status = trial(tree, bug)
      verdict = status == 0 and "SURVIVED" or "killed"
      how = verdict_of(text, status)
    end
  end
  for path, text in pairs(kept) do write_file(path, text) end
  return verdict, how
end

local function is_wanted(n, bug, wanted)
  return bug.name:find(wanted, 1, true) ~= nil and n % SAMPLE == 0
end

--- A tree of its own; gives the directory.
local function copy_tree()
  local pipe = assert(io.popen "mktemp -d")
  local tree = pipe:read "l"
  pipe:close()
  local text, status = run("cp -r core examples lua spec Makefile .busted " .. tree)
  assert(status == 0, text)
  return tree
end

--- Builds what this bug is tried with, once. A spec must pass when nothing is broken.
local function prepare(tree, bug, done)
  local for_spec = is_for_spec(bug)
  local what = for_spec and bug.killed_by or "crash"
  if done[what] then return end
  local text, status = build(tree, for_spec)
  if status == 0 and for_spec then text, status = trial(tree, bug) end
  assert(status == 0, text)
  done[what] = true
end

--- One job: every JOBS-th bug, a line each.
local function work(job, wanted)
  local tree, done, count = copy_tree(), {}, 0
  for n, bug in ipairs(bugs) do
    count = is_wanted(n, bug, wanted) and count + 1 or count
    if is_wanted(n, bug, wanted) and count % JOBS == job then
      prepare(tree, bug, done)
      local began = os.time()
      local verdict, how = try(tree, bug)
      how = how:gsub("[\t\n]", " ")
      io.write(table.concat({ n, verdict, os.time() - began, how }, "\t"), "\n")
      io.flush()
    end
  end
  os.execute("rm -rf " .. tree)
end

local function show(bug, verdict, seconds, how)
  local by = is_for_spec(bug) and bug.killed_by or "crash " .. bug.killed_by
  print(("%-9s %-75s %s (%ss)"):format(verdict, bug.name, by, seconds))
  if verdict ~= "killed" or os.getenv "V" then print("          " .. how:sub(1, 240)) end
end

local function main(wanted)
  local jobs, results, killed, count = {}, {}, 0, 0
  for job = 0, JOBS - 1 do
    local command = ("lua5.4 spec/mutants/run.lua --job %d '%s'"):format(job, wanted)
    jobs[#jobs + 1] = assert(io.popen(command))
  end
  for _, job in ipairs(jobs) do
    for line in job:lines() do
      local n, verdict, seconds, how = line:match "^(%d+)\t([^\t]*)\t(%d+)\t(.*)$"
      if n then results[tonumber(n)] = { verdict, seconds, how } else print(line) end
    end
    job:close()
  end
  for n, bug in ipairs(bugs) do
    if is_wanted(n, bug, wanted) then
      local result = results[n] or { "no result", "?", "" }
      show(bug, table.unpack(result))
      count = count + 1
      if result[1] == "killed" then killed = killed + 1 end
    end
  end
  print(("mutants: %d planted bugs, %d killed"):format(count, killed))
  os.exit(count > 0 and killed == count)
end

if arg[1] == "--job" then work(tonumber(arg[2]), arg[3] or "") else main(arg[1] or "") end
