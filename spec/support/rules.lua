--- Engines for specs: a store in a fresh directory, rules on it, and commands as the daemon does
-- them: decided, appended, admitted.
local m = require "moonlog"
local tmpdir = require "spec.support.tmpdir"

local rules = {}
local methods = {}
local meta = { __index = methods }

rules.account = [[
local moonlog = require "moonlog"
return {
  aggregate = "account",
  initial = { open = false, balance = 0 },
  on = {
    AccountOpened = function(s, d) s.open, s.owner = true, d.owner end,
    Deposited = function(s, d) s.balance = s.balance + d.amount end,
    Withdrawn = function(s, d, e) s.balance, s.last = s.balance - d.amount, e.revision end,
  },
  commands = {
    open = function(s, c)
      if s.open then return moonlog.refuse "ALREADY_OPEN" end
      return moonlog.event("AccountOpened", { owner = c.owner })
    end,
    deposit = function(_, c) return moonlog.event("Deposited", { amount = c.amount }) end,
    withdraw = function(s, c)
      if c.amount > s.balance then
        return moonlog.refuse("INSUFFICIENT_FUNDS", { balance = s.balance })
      end
      return moonlog.event("Withdrawn", { amount = c.amount })
    end,
  },
  snapshot = { every = 10 },
}
]]

--- A rule file around handlers: rules.file("s.n = (s.n or 0) + 1").
function rules.file(body, more)
  return ([[
local moonlog = require "moonlog"
%s
return { aggregate = "thing", initial = { n = 0 },
  on = { Happened = function(s, d, e) %s end },
  commands = { act = function(s, c, ctx) %s end } }
]]):format(more and more.before or "", body or "", more and more.act or "")
end

--- A store and an engine. Options as of moonlog.engine; snapshots = true keeps some.
function rules.new(options)
  local self = setmetatable({ dir = tmpdir.new(), options = {} }, meta)
  for key, value in pairs(options or {}) do self.options[key] = value end
  if self.options.snapshots == true then self.options.snapshots = self.dir .. "/snapshots" end
  self.store = assert(m.open { dir = self.dir .. "/store" })
  self.options.store = self.store
  self.engine = assert(m.engine(self.options))
  return self
end

--- Another engine on the same store and snapshots: one that remembers nothing.
function methods:again()
  self.engine:close()
  self.engine = assert(m.engine(self.options))
  if self.files then self:load(self.files) end
  return self
end

--- Stages; the report, and the first diagnostic (of a code, if one is given).
function methods:stage(files, code)
  if type(files) == "string" then files = { ["unit.lua"] = files } end
  local report = assert(self.engine:stage(files))
  for _, found in ipairs(report.diagnostics) do
    if not code or found.code == code then return report, found end
  end
  return report
end

--- Stages and activates what has to be right.
function methods:load(files)
  local report, found = self:stage(files)
  if not report.ok then error(found.file .. ":" .. found.line .. ": " .. found.message, 2) end
  assert(self.engine:activate())
  self.files = files
  return report
end

--- Appends events {type, data, more} to a stream; gives them as they are stored.
function methods:append(stream, events, expected)
  local list = {}
  for i, event in ipairs(events) do
    list[i] = { type = event.type or event[1], data = event.data or event[2] }
    for key, value in pairs(event[3] or {}) do list[i][key] = value end
    list[i].tags, list[i].meta = event.tags or list[i].tags, event.meta or list[i].meta
    list[i].schema = event.schema or list[i].schema
  end
  local receipt = assert(self.store:append(stream, list, { expected = expected }))
  local stored = {}
  for event in self.store:read(stream, { from = receipt.revision - #list + 1 }) do
    stored[#stored + 1] = {
      stream = stream, type = event.type, data = event.data, meta = event.meta, tags = event.tags,
      schema = event.schema, id = event.id, position = event.position, revision = event.revision,
      time = event.time, occurred = event.occurred,
    }
  end
  return stored
end

--- Decides, appends, tells: the state, or nil and the refusal; raises what is an error.
function methods:act(aggregate, id, name, args, more)
  local request = { aggregate = aggregate, id = id, name = name, args = args }
  for key, value in pairs(more or {}) do request[key] = value end
  local answer = assert(self.engine:command(request))
  if answer.refused then return nil, answer.refused end
  local decided = answer.decided
  if #decided.events > 0 then
    self.engine:admitted(self:append(decided.stream, decided.events, decided.expected))
  end
  return decided
end

function methods:state(aggregate, id, more)
  local request = { aggregate = aggregate, id = id }
  for key, value in pairs(more or {}) do request[key] = value end
  return self.engine:state(request)
end

function methods:close()
  self.engine:close()
  self.store:close()
end

return rules
