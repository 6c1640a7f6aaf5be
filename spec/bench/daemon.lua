--- `make bench-daemon`: the daemon and Redis in interleaved rounds, medians, beside the targets.
--
--     MOONLOG_BUILD=BUILD lua5.4 spec/bench/daemon.lua EVENTS ROUNDS SECONDS
--
-- One load generator (`moonlog bench --connect`) measures both over TCP, and the daemon once more
-- over its unix socket where a single client waits. Each figure is taken of one server right after
-- the other, in turns who is first. Works in a directory of its own in the current one (a real
-- disk, one hopes), removed at the end.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local program = require "spec.support.program"
local redis_server = require "spec.support.redis"

local events, rounds, seconds = tonumber(arg[1]), tonumber(arg[2]), arg[3]
if not (events and rounds and seconds) then error "usage: daemon.lua EVENTS ROUNDS SECONDS" end

--- What is wanted of a field of a figure: at least (or at most) so many times Redis's, or a
-- number of its own (`floor`, `ceiling`).
local targets = {
  { "append.1", "value", least = 1.2 },
  { "append.64", "value", least = 1.6 },
  { "append.256", "value", least = 1.25 },
  { "append.1", "server_us", most = 1 },
  { "append.64", "server_us", most = 1 },
  { "append.256", "server_us", most = 1 },
  { "append.batch100", "value", least = 3 },
  { "append.os.flight100", "value", least = 1.5 },
  { "expected.64", "value", least = 2 },
  { "scan", "value", least = 2.5 },
  { "load.16", "value", least = 1.5 },
  { "live.1k", "p50_us", most = 0.85 },
  { "live.1k", "p99_us", most = 0.5 },
  { "fanout.50", "value", floor = 1e6 },
  { "signal.10", "value", floor = 1e6 },
  { "signal.100k", "p99_us", ceiling = 300 },
}
local fields = { "value", "p50_us", "p99_us", "server_us", "client_us" }
local single = { ["append.1"] = true, ["append.batch100"] = true } -- over a unix socket, too

-- ---- measuring -------------------------------------------------------------------------

local values = {} -- "redis append.1 value" -> list of values, one a round

local function measure(who, uri, name)
  local command = program.command {
    "bench", name, "--connect", uri, "--events", events, "--seconds", seconds, "-o", "ndjson",
  }
  io.stderr:write(who, " ", name, "\n")
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  if not pipe:close() then error("failed: " .. command, 0) end
  for _, figure in ipairs(json.lines(text)) do
    for _, field in ipairs(fields) do
      local key = who .. " " .. figure.name .. " " .. field
      values[key] = values[key] or {}
      table.insert(values[key], figure[field])
    end
  end
end

local function names()
  local list, known = {}, {}
  for _, target in ipairs(targets) do
    if not known[target[1]] then list[#list + 1] = target[1] end
    known[target[1]] = true
  end
  return list
end

local function round(number, server, redis)
  local uris = { moonlog = server.tcp, redis = redis.uri }
  local order = number % 2 == 1 and { "moonlog", "redis" } or { "redis", "moonlog" }
  for _, name in ipairs(names()) do
    for _, who in ipairs(order) do measure(who, uris[who], name) end
    if single[name] then measure("unix", server.uri, name) end
  end
end

-- ---- judging ---------------------------------------------------------------------------

local function median(who, name, field)
  local list = values[who .. " " .. name .. " " .. field]
  if not list then return nil end
  table.sort(list)
  return (list[(#list + 1) // 2] + list[#list // 2 + 1]) / 2
end

local function cell(value)
  if not value then return "" end
  return (value >= 100 and "%.0f" or "%.2f"):format(value)
end

local function show_all()
  print(("\n%-22s %-10s %12s %12s %12s"):format("figure", "", "moonlog", "redis", "unix socket"))
  for _, name in ipairs(names()) do
    for _, field in ipairs(fields) do
      local line = ("%-22s %-10s %12s %12s %12s"):format(field == "value" and name or "", field,
        cell(median("moonlog", name, field)), cell(median("redis", name, field)),
        cell(median("unix", name, field)))
      print((line:gsub(" +$", "")))
    end
  end
end

--- Is it met, and in words what was wanted.
local function compare(target, ours, ratio)
  if target.least then return ratio >= target.least, ("at least %s x"):format(target.least) end
  if target.most then return ratio <= target.most, ("at most %s x"):format(target.most) end
  if target.floor then return ours >= target.floor, ("at least %.0f"):format(target.floor) end
  return ours <= target.ceiling, ("at most %.0f"):format(target.ceiling)
end

local function judge(target)
  local name, field = target[1], target[2]
  local ours, theirs = median("moonlog", name, field), median("redis", name, field)
  local ratio = ours / theirs
  local good, wanted = compare(target, ours, ratio)
  print(("%-22s %-10s %12s %12s %7.2f  %-16s %s"):format(name, field, cell(ours), cell(theirs),
    ratio, wanted, good and "ok" or "SHORT"))
  return good
end

local function show_targets()
  print(("\n%d events, %d rounds of %s s, medians\n"):format(events, rounds, seconds))
  print(("%-22s %-10s %12s %12s %7s  %s"):format("figure", "", "moonlog", "redis", "ratio",
    "wanted"))
  local met = 0
  for _, target in ipairs(targets) do
    if judge(target) then met = met + 1 end
  end
  print(("\n%d of %d targets met"):format(met, #targets))
end

-- ---- the whole -------------------------------------------------------------------------

local dir, server, redis

local function run()
  local pipe = assert(io.popen "mktemp -d -p . bench-XXXXXX")
  dir = assert(pipe:read "l", "mktemp gave no directory")
  pipe:close()
  server = daemon.start_tcp(dir .. "/store")
  assert(os.execute("mkdir " .. dir .. "/redis"))
  redis = redis_server.start(dir .. "/redis")
  for number = 1, rounds do round(number, server, redis) end
end

local good, why = pcall(run)
if redis then redis:stop() end
if server and server:stop() ~= 0 and good then
  good, why = false, "the daemon failed: " .. server:said()
end
if dir then os.execute("rm -rf " .. dir) end
if not good then
  io.stderr:write("\n", tostring(why), "\n")
  os.exit(1)
end
show_all()
show_targets()
