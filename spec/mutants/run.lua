--- Plants one bug at a time and says who notices.
--
--     lua5.4 spec/mutants/run.lua [name]      all of list.lua, or those whose name holds this
--
-- The tree is copied once per job, so that each bug costs one compilation and one link; the
-- trial that is named must fail, and must pass before any bug is planted.
local bugs = dofile "spec/mutants/list.lua"

local JOBS = 2
local SECONDS_MAX = 120

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

local function build(tree)
  return run(("make -s -C %s OUT=%s/out %s/out/crash"):format(tree, tree, tree))
end

local function trial(tree, words)
  return run(("timeout %d %s/out/crash %s"):format(SECONDS_MAX, tree, words))
end

--- Gives "killed", or what else became of the bug, and a word on how.
local function try(tree, bug)
  local kept, why = plant(tree, bug)
  local verdict, how = "stale", why
  if not why then
    local text, status = build(tree)
    if status ~= 0 then
      verdict, how = "does not compile", text:match "[^\n]*error[^\n]*" or text
    else
      text, status = trial(tree, bug.killed_by)
      verdict = status == 0 and "SURVIVED" or "killed"
      how = text:match "FAILED[^\n]*" or text:match "[^\n]+" or "status " .. status
    end
  end
  for path, text in pairs(kept) do write_file(path, text) end
  return verdict, how
end

--- One job: every JOBS-th bug, a line each.
local function work(job, wanted)
  local pipe = assert(io.popen "mktemp -d")
  local tree = pipe:read "l"
  pipe:close()
  run(("mkdir %s/spec && cp -r core Makefile %s && cp -r spec/crash %s/spec")
    :format(tree, tree, tree))
  local text, status = build(tree)
  assert(status == 0, text)
  for n, bug in ipairs(bugs) do
    if n % JOBS == job and bug.name:find(wanted, 1, true) then
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
  print(("%-9s %-75s crash %s (%ss)"):format(verdict, bug.name, bug.killed_by, seconds))
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
    if bug.name:find(wanted, 1, true) then
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
