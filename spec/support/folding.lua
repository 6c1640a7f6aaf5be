--- Projections without a projector for specs: one in a fresh directory, told of events as a log
-- would have them.
local core = require("coretest").projection
local m = require "moonlog"
local tmpdir = require "spec.support.tmpdir"

local folding = {}
local methods = {}
local meta = { __index = methods }

--- A file of a projection named p, around its declarations, which begin on line 4.
function folding.file(body, before)
  return ("local moonlog = require 'moonlog'\n%s\nreturn { projection = 'p',\n%s }"):format(before
    or "", body)
end

--- Of one file's text, or a table of files. Nil and a sentence if it is wrong.
function folding.try(files)
  if type(files) == "string" then files = { ["p.lua"] = files } end
  local dir = tmpdir.new() .. "/view"
  local p, why = core.new(files, "p", dir)
  if not p then return nil, why end
  return setmetatable({ p = p, position = 0, time = 0, dir = dir, files = files }, meta)
end

function folding.new(files) return assert(folding.try(files)) end

--- An event: type, data, and more {stream=, time=, occurred=, meta=, schema=, position=}.
function folding.event(type, data, more)
  local event = { type = type, data = m.pack(data), stream = "account-ada" }
  for key, value in pairs(more or {}) do event[key] = value end
  if more and more.meta then event.meta = m.pack(more.meta) end
  return event
end

--- Applies it behind the one before: "applied", "held" or "fault"; the fault.
function methods:apply(type, data, more)
  local event = folding.event(type, data, more)
  self.position = event.position or self.position + 1
  event.position = self.position
  self.time = event.time or self.time
  event.time = self.time
  local how, fault = self.p:apply(event, more and more.only)
  return assert(how, fault), fault
end

--- The same, where nothing may be wrong.
function methods:feed(type, data, more)
  local how, fault = self:apply(type, data, more)
  if how ~= "applied" then error(fault and fault.message or how, 2) end
  return self
end

function methods:commit(time)
  self.time = time or self.time
  assert(self.p:pass(self.time))
  assert(self.p:commit(self.position))
  return self
end

--- {key = row}, or {[key] = {["from..to"] = row}} of windows; as committed now.
function methods:rows(time)
  self:commit(time)
  local rows = {}
  for _, row in ipairs(assert(self.p:rows())) do
    local key, value = m.unpack(row[1]), m.unpack(row[2])
    if row[3] then
      rows[key] = rows[key] or {}
      rows[key][row[3] .. ".." .. row[4]] = value
    else
      rows[key] = value
    end
  end
  return rows
end

--- The keys an event goes to, as text.
function methods:keys(type, data, more)
  local keys, shown = core.keys(), {}
  local done, why = self.p:keys(folding.event(type, data, more), keys)
  if not done then return nil, why end
  for n = 1, keys:count() do shown[n] = core.show(keys:get(n - 1)) end
  return shown, keys
end

return folding
