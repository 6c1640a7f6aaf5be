-- core/rules/engine.h, ml_engine_upcast: stored events as the latest schemas, for who reads them.
local m = require "moonlog"
local rules = require "spec.support.rules"

describe("rules/engine_upcast", function()
  local r
  before_each(function()
    r = rules.new()
    r:load {
      ["table.lua"] = [[return { upcast = "Table", latest = 3,
        [1] = { rename = { sum = "amount" } }, [2] = { default = { currency = "EUR" } } }]],
      ["function.lua"] = [[return { upcast = "Function", latest = 2,
        [1] = function(d, e) d.at = e.position return d end }]],
      ["mixed.lua"] = [[return { upcast = "Mixed", latest = 3,
        [1] = { rename = { sum = "amount" } },
        [2] = function(d) d.amount = d.amount * 10 return d end }]],
      ["dropped.lua"] = [[local moonlog = require "moonlog"
        return { upcast = "Dropped", latest = 2, [1] = function() return moonlog.drop end }]],
      ["split.lua"] = [[local moonlog = require "moonlog"
        return { upcast = "Split", latest = 2, [1] = function(d)
          return moonlog.split { { n = 1 }, moonlog.event("Other", { n = 2 }) } end }]],
      ["broken.lua"] = [[return { upcast = "Broken", latest = 2,
        [1] = function(d) return d.x.y end }]],
      ["cast.lua"] = [[return { upcast = "Cast", latest = 2,
        [1] = { cast = { n = "integer" } } }]],
    }
  end)
  after_each(function() r:close() end)

  local function upcast(type, data, more)
    local event = { stream = "a-1", type = type, data = data, position = 7, revision = 3,
      time = 99 }
    for key, value in pairs(more or {}) do event[key] = value end
    return r.engine:upcast { event }
  end

  it("translates by tables, by functions, and by both", function()
    local event = upcast("Table", { sum = 5 })[1]
    assert.same({ amount = 5, currency = "EUR" }, event.data)
    assert.equal(3, event.schema)
    assert.same({ amount = 5, currency = "CHF" },
      upcast("Table", { amount = 5, currency = "CHF" }, { schema = 2 })[1].data)
    assert.same({ x = 1, at = 7 }, upcast("Function", { x = 1 })[1].data)
    event = upcast("Mixed", { sum = 5 })[1]
    assert.same({ amount = 50 }, event.data)
    assert.equal(3, event.schema)
  end)

  it("leaves everything else of an event alone", function()
    local more = { tags = { "t" }, meta = { actor = "ann" }, occurred = 5 }
    local event = upcast("Table", { sum = 5 }, more)[1]
    assert.same({ "a-1", "Table", 7, 3, 99 }, { event.stream, event.type, event.position,
      event.revision, event.time })
    assert.same(more, { tags = event.tags, meta = event.meta, occurred = event.occurred })
  end)

  it("gives arrays or maps, with the same in them", function()
    local names = { "position", "revision", "time", "stream", "type", "schema", "id", "tags",
      "data", "meta", "occurred" }
    local events = {}
    for _, type in ipairs { "Table", "Function", "Mixed", "Dropped", "Split", "Unknown" } do
      for schema = 1, 3 do
        events[#events + 1] = {
          stream = "stream-1", type = type, schema = schema, position = #events + 1,
          data = schema == 1 and { sum = 5 } or { amount = 5 }, id = m.uuid(),
          revision = 300, time = 1795268446000000, occurred = schema == 2 and 5 or nil,
          tags = { "a", "b" }, meta = { actor = "ann" },
        }
      end
    end
    local maps, arrays = assert(r.engine:upcast(events)), assert(r.engine:upcast(events, true))
    assert.equal(#events, #maps) -- one is dropped, one is two
    assert.equal(#maps, #arrays)
    for n, map in ipairs(maps) do
      assert.equal(11, #arrays[n])
      for place, name in ipairs(names) do
        assert.equal(m.pack(map[name]), m.pack(arrays[n][place]), n .. " " .. name)
      end
    end
  end)

  it("leaves events alone that are at the end of their chain, or have none", function()
    assert.same({ sum = 5 }, upcast("Table", { sum = 5 }, { schema = 3 })[1].data)
    assert.same({ sum = 5 }, upcast("Unknown", { sum = 5 })[1].data)
    assert.is_true(r.engine:upcasts("Table", 2))
    assert.is_false(r.engine:upcasts("Table", 3))
    assert.is_false(r.engine:upcasts("Unknown", 1))
  end)

  it("leaves out what is dropped, and gives several for what is split", function()
    assert.same({}, upcast("Dropped", {}))
    local parts = upcast("Split", {})
    assert.equal(2, #parts)
    assert.same({ "Split", 2, { n = 1 }, 7 }, { parts[1].type, parts[1].schema, parts[1].data,
      parts[1].position })
    assert.same({ "Other", { n = 2 }, 7 }, { parts[2].type, parts[2].data, parts[2].position })
  end)

  it("says where a step failed, and for which event", function()
    local nothing, why = upcast("Broken", {})
    assert.is_nil(nothing)
    assert.match("^SCRIPT_ERROR: broken%.lua:2: attempt to index a nil value %(field 'x'%)", why)
    nothing, why = upcast("Cast", { n = "no number" })
    assert.is_nil(nothing)
    assert.match("^SCRIPT_ERROR: cast%.lua:2: Cast, step %[1%]: field 'n' is ", why)
    assert.same({ n = 5 }, upcast("Cast", { n = "5" })[1].data)
  end)

  it("does nothing without rules", function()
    local engine = m.engine {}
    assert.equal(5, engine:upcast({ { stream = "a", type = "Table", data = 5 } })[1].data)
    assert.is_false(engine:upcasts("Table", 1))
    engine:close()
  end)

  it("lets data grow beyond what an event may have, and not without end", function()
    r:load {
      ["grown.lua"] = [[return { upcast = "Grown", latest = 3,
        [1] = function(d) d.b = d.a return d end,
        [2] = function(d) for n = 1, d.n do d[n .. ""] = d.a end return d end }]],
      ["table.lua"] = [[return { upcast = "Table", latest = 2,
        [1] = { default = { note = ("x"):rep(1000000) } } }]],
    }
    local text = ("x"):rep(700000)
    assert.equal(text, upcast("Grown", { a = text, n = 0 })[1].data.b)
    assert.equal(1000000, #upcast("Table", { a = text })[1].data.note)
    local nothing, why = upcast("Grown", { a = text, n = 2 })
    assert.is_nil(nothing)
    assert.match("^SCRIPT_ERROR: grown%.lua:3: Grown, step %[2%]: data is over 2097152 bytes", why)
  end)

  it("blames the first function that gave what cannot be stored", function()
    r:load {
      ["spoilt.lua"] = [[return { upcast = "Spoilt", latest = 4,
        [1] = function(d) return d end,
        [2] = function(d) d.n = 0 / 0 return d end,
        [3] = function(d) d.last = true return d end }]],
      ["thing.lua"] = "return { aggregate = 'a', on = { Spoilt = function() end } }",
    }
    local expected = "^SCRIPT_ERROR: spoilt%.lua:3: Spoilt, step %[2%]: data holds NaN"
    assert.match(expected, select(2, upcast("Spoilt", {})))
    r:append("a-1", { { "Spoilt", {} } })
    assert.match(expected, select(2, r:state("a", "1")))
    r:append("b-1", { { "Table", {} } })
  end)
end)
