--- `make bench`: moonlog, SQLite and LMDB in interleaved rounds, medians, beside the targets.
--
--     lua5.4 spec/bench/run.lua BUILD EVENTS ROUNDS SECONDS
--
-- A ratio is only taken between figures of one run of this program. Works in a directory of
-- its own in the current one (a real disk, one hopes), removed at the end.
local json = require "spec.support.json"

local build, events, rounds, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4]
if not (build and events and rounds and seconds) then
  error "usage: run.lua BUILD EVENTS ROUNDS SECONDS"
end
local streams = events // 10
local dir -- worked in

-- ---- running ---------------------------------------------------------------------------

local values = {} -- "moonlog append.disk.1" -> list of values, one a round

local function shell(command)
  if not os.execute(command) then error("failed: " .. command, 0) end
end

--- Runs a measuring program and notes its figures under the name of who was measured.
local function measure(who, command)
  io.stderr:write(command, "\n")
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  if not pipe:close() then error("failed: " .. command, 0) end
  for _, figure in ipairs(json.lines(text)) do
    local name = who .. " " .. figure.name
    values[name] = values[name] or {}
    table.insert(values[name], figure.value)
  end
end

local function moonlog(works)
  measure("moonlog", ("%s/moonlog bench %s -o ndjson --dir %s --events %d --seconds %s"):format(
    build, works, dir, events, seconds))
end

local function peer(engine, work, options)
  measure(engine, ("%s/peers %s %s %s --events %d --streams %d --seconds %s %s"):format(
    build, engine, work, dir, events, streams, seconds, options or ""))
end

local function clear() shell("rm -rf " .. dir .. "/*") end

local function round()
  moonlog "limit append"
  for _, engine in ipairs { "sqlite", "lmdb" } do
    for _, batch in ipairs { 1, 10, 100 } do
      for _, sync in ipairs { 1, 0 } do
        peer(engine, "append", ("--batch %d --sync %d"):format(batch, sync))
        clear()
      end
    end
  end
  moonlog "condition import tag"
  moonlog "fill-curve rss size open scan load100"
  moonlog "load10"
  for _, engine in ipairs { "sqlite", "lmdb" } do
    for _, work in ipairs { "fill", "scan", "load" } do peer(engine, work) end
    clear()
  end
end

-- ---- judging ---------------------------------------------------------------------------

local function median(name)
  local list = values[name]
  if not list then return nil end
  table.sort(list)
  return (list[(#list + 1) // 2] + list[#list // 2 + 1]) / 2
end

--- What was asked for: at least (or at most) so many times another figure, or a number;
-- `from`: with that many events, because preallocated files are a share of each.
local targets = {
  { "limit.append.1", least = 0.9, of = "moonlog limit.bare.1" },
  { "append.disk.1", least = 1, of = "sqlite append.disk.1" },
  { "append.disk.100", least = 2, of = "sqlite append.disk.100" },
  { "fill", least = 2, of = "lmdb fill" },
  { "fill.late", least = 0.9, of = "moonlog fill.early" },
  { "scan", least = 2, of = "sqlite scan" },
  { "scan", least = 0.4, of = "lmdb scan" },
  { "load10", least = 150000 },
  { "load100", least = 40000 },
  { "condition.os.holds", least = 0.7, of = "moonlog condition.os.without" },
  { "condition.os.conflicts", least = 0.6, of = "moonlog condition.os.without" },
  { "condition.disk.holds", least = 0.7, of = "moonlog condition.disk.without" },
  { "condition.disk.conflicts", least = 0.6, of = "moonlog condition.disk.without" },
  { "import", least = 250000 },
  { "open.warm", most = 100000 },
  { "open.cold", most = 100000 },
  { "rss", most = 256 * 1024 },
  { "size", most = 256 + 120, from = 10000000 },
}

local function judge(target)
  local value = median("moonlog " .. target[1])
  local base = target.of and median(target.of) or 1
  local wanted = (target.least or target.most) * base
  local good = target.least and value >= wanted or target.most and value <= wanted
  local phrase = ("%s %s%s"):format(target.least and "at least" or "at most",
    target.least or target.most, target.of and " x " .. target.of or "")
  print(("%-26s %12.0f   %-44s %12.0f %7.2f  %s"):format(target[1], value, phrase, wanted,
    value / wanted, good and "ok" or "SHORT"))
  return good
end

local function show_all()
  print(("\n%-26s %12s %12s %12s"):format("", "moonlog", "sqlite", "lmdb"))
  local names = {}
  for key in pairs(values) do
    local name = key:match "^moonlog (.*)"
    if name then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local cells = {}
    for n, who in ipairs { "moonlog", "sqlite", "lmdb" } do
      local value = median(who .. " " .. name)
      cells[n] = value and ("%12.0f"):format(value) or ("%12s"):format ""
    end
    print((("%-26s %s"):format(name, table.concat(cells, " ")):gsub(" +$", "")))
  end
end

local function show_targets()
  print(("\n%d events, %d rounds, medians\n"):format(events, rounds))
  print(("%-26s %12s   %-44s %12s %7s"):format("figure", "value", "wanted", "that is", "ratio"))
  local met, judged = 0, 0
  for _, target in ipairs(targets) do
    if events >= (target.from or 0) then
      judged = judged + 1
      if judge(target) then met = met + 1 end
    end
  end
  print(("\n%d of %d targets met"):format(met, judged))
end

-- ---- the whole -------------------------------------------------------------------------

local function run()
  local pipe = assert(io.popen "mktemp -d -p . bench-XXXXXX")
  dir = assert(pipe:read "l", "mktemp gave no directory")
  pipe:close()
  for _ = 1, rounds do round() end
  show_all()
  show_targets()
end

local good, why = pcall(run)
if dir then os.execute("rm -rf " .. dir) end
if not good then
  io.stderr:write("\n", tostring(why), "\n")
  os.exit(1)
end
