-- The contract in core/script/envelope.h.
local boxes = require "spec.support.boxes"
local m = require "moonlog"

local function event(more)
  local out = { position = 12, revision = 3, time = 1700000000000001, stream = "account-ada-2",
    type = "Deposited", schema = 2, id = ("\x01"):rep(16), tags = m.pack(m.array { "a", "b" }),
    meta = m.pack { actor = "eve" }, occurred = 5 }
  for key, value in pairs(more or {}) do out[key] = value end
  return out
end

describe("script/envelope", function()
  it("has the fields of the event", function()
    local box = boxes.run [[return { all = function(e)
      return { e.position, e.revision, e.time, e.stream, e.type, e.schema, e.id, e.tags[2], #e.tags,
        e.meta.actor, e.occurred, e.category }
    end }]]
    assert.same({ 12, 3, 1700000000000001, "account-ada-2", "Deposited", 2,
      "01010101-0101-0101-0101-010101010101", "b", 2, "eve", 5, "account" },
      { table.unpack(assert(box:give("all", event()))) })
  end)

  it("has nil where the event has nothing", function()
    local box = boxes.run [[return { all = function(e)
      return { e.occurred == nil, e.meta == nil, #e.tags, e.category }
    end }]]
    assert.same({ true, true, 0, "plain" }, { table.unpack(assert(box:give("all",
      event { occurred = 0, meta = m.pack(nil), tags = m.pack(m.array {}), stream = "plain" }))) })
  end)

  it("knows no other field, and says which is near", function()
    local box = boxes.run [[return { near = function(e) return e.streem end,
      far = function(e) return e.amount_in_cents end, number = function(e) return e[1] end,
      set = function(e) e.type = "x" end, text = function(e) return tostring(e) end,
      meta = function(e) return getmetatable(e) end }]]
    local function said(name) return select(2, box:give(name, event())).message end
    assert.truthy(said("near"):find("no field 'streem' (did you mean 'stream'?)", 1, true))
    assert.truthy(said("far"):find("no field 'amount_in_cents'", 1, true))
    assert.truthy(said("number"):find("the name of a field", 1, true))
    assert.truthy(said("set"):find("cannot be changed", 1, true))
    assert.equal("<event 12>", box:give("text", event()))
    assert.equal("moonlog.event", box:give("meta", event()))
  end)

  it("is over when the call is, and does not show another event", function()
    local box = boxes.run [[
      local kept
      return { keep = function(e) kept = e return kept.position end,
        look = function() return kept.position end,
        text = function() return tostring(kept) end }]]
    assert.equal(12, box:give("keep", event()))
    for _, how in ipairs { function() return box:call("look", 1) end,
      function() return box:give("look", event { position = 13 }) end } do
      local value, found = how()
      assert.is_nil(value)
      assert.truthy(found.message:find("a call that is over", 1, true), found.message)
    end
    assert.equal("<event>", box:call("text", 1))
    assert.equal(14, box:give("keep", event { position = 14 }))
  end)
end)
