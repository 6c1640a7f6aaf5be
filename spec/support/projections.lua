--- Projections without a daemon, for specs: a log that is random but the same each time, and
-- projectors over it.
local m = require "moonlog"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local projections = {}
local methods = {}
local meta = { __index = methods }

--- A rule file: `more` replaces or adds fields, given as Lua text; `on` replaces handlers.
function projections.source(more, on)
  local fields = {
    projection = '"balances"', from = '"account"', key = '"stream"',
    row = "{ balance = 0, n = 0 }", index = '{ "owner", "balance" }',
  }
  local handlers = {
    Opened = "function(r, d) r.owner = d.owner end",
    Deposited = "function(r, d) r.balance, r.n = r.balance + d.amount, r.n + 1 end",
    Withdrawn = "function(r, d) r.balance, r.n = r.balance - d.amount, r.n + 1 end",
    Closed = "function() return moonlog.delete end",
  }
  for name, text in pairs(more or {}) do fields[name] = text or nil end
  for name, text in pairs(on or {}) do handlers[name] = text or nil end
  local lines = { "local moonlog = require 'moonlog'", "return {" }
  for _, name in ipairs(projections.sorted(fields)) do
    lines[#lines + 1] = ("  %s = %s,"):format(name, fields[name])
  end
  lines[#lines + 1] = "  on = {"
  for _, type in ipairs(projections.sorted(handlers)) do
    lines[#lines + 1] = ("    %s = %s,"):format(type, handlers[type])
  end
  lines[#lines + 1] = "  },\n}"
  return { ["balances.lua"] = table.concat(lines, "\n") }
end

function projections.sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Numbers that look random: the same for the same seed.
function projections.dice(seed)
  local state = seed * 2654435761 + 1
  return function(most)
    state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
    return (state >> 33) % most + 1
  end
end

--- Runs a Lua file again and again, and kills it at random moments. However busy the machine is,
-- these are spread over the time that a run takes: the next is let live longer after a kill,
-- and shorter after an end.
-- @tparam function each gets "killed", or the exit status, and what it complained
-- @tparam function enough true ends it
function projections.kill(file, dice, each, enough)
  local most = 40
  repeat
    local command = ("timeout --foreground -s KILL 0.%03d lua5.4 %s"):format(
      math.min(3 + dice(most), 999), program.quote(file))
    local _, err, status = program.shell(command)
    local killed = status == 137 or status == 124
    most = killed and most + 1 or most * 3 // 4 + 1
    each(killed and "killed" or status, err)
  until enough()
end

--- A store in a directory of its own.
function projections.new()
  local dir = tmpdir.new()
  local self = { dir = dir, views = tmpdir.new(), count = 0, log = {} }
  self.store = assert(m.open { dir = dir .. "/log" })
  return setmetatable(self, meta)
end

function methods:append(stream, type, data)
  local done = assert(self.store:append(stream, { { type = type, data = data or {} } }))
  self.log[done.last] = { stream = stream, type = type, data = data }
  return done.last
end

--- Many events of accounts, and some of others in between.
function methods:fill(events, keys, dice)
  local writes = {}
  for _ = 1, events do
    local stream, roll = ("account-%03d"):format(dice(keys)), dice(100)
    local event = { type = "Deposited", data = { amount = dice(1000) } }
    if roll <= 10 then event = { type = "Opened", data = { owner = "o" .. dice(7) } }
    elseif roll <= 40 then event.type = "Withdrawn"
    elseif roll == 41 then event = { type = "Closed", data = {} }
    elseif roll == 42 then event = { type = "Rare", data = { amount = 1 } }
    elseif roll <= 45 then stream = "order-" .. dice(10) end
    writes[#writes + 1] = { stream = stream, events = { event } }
    if #writes == 100 then
      assert(self.store:append(writes))
      writes = {}
    end
  end
  if #writes > 0 then assert(self.store:append(writes)) end
end

--- A projector; `more` are fields of m.projector. The view is a new one unless it is named.
function methods:try(files, more)
  self.count = self.count + 1
  local options = {
    store = self.store, files = files, name = "balances",
    view = ("%s/%d"):format(self.views, self.count),
  }
  for name, value in pairs(more or {}) do options[name] = value end
  return m.projector(options)
end

function methods:open(files, more) return assert(self:try(files, more)) end

--- Status of a view built from the beginning.
function methods:built(files, more)
  local projector <close> = self:open(files, more)
  return projector:run()
end

--- All rows, page by page.
function methods.rows(projector, request)
  local rows, asked = {}, { limit = 7 }
  for name, value in pairs(request or {}) do asked[name] = value end
  repeat
    local page = assert(projector:scan(asked))
    for _, row in ipairs(page.rows) do rows[#rows + 1] = row end
    asked.from = page.next
  until page.next == nil
  return rows
end

function methods:close() self.store:close() end

return projections
