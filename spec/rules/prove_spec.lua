-- The contract in core/rules/prove.h: no pack that history would break becomes the active one.
--
-- luacheck: ignore 631 (rule files are quoted as they are)
local core = require "coretest"
local m = require "moonlog"
local tmpdir = require "spec.support.tmpdir"
local upcast = core.upcast

local function read(count, errors, bytes)
  local list = m.unpack(string.pack(">B I2", 0xdc, count) .. bytes)
  list.errors = errors
  return list
end

--- A store with these events: { type, data, schema, stream }.
local function history(events)
  local dir = tmpdir.new()
  local store = assert(core.store.open(dir, { segment_bytes = 65536 }))
  for n = 1, #events, 500 do
    local writes = {}
    for i = n, math.min(n + 499, #events) do
      local type, data, schema, stream = table.unpack(events[i], 1, 4)
      writes[#writes + 1] = { stream = stream or "account-ada", expected = "any",
        events = { { type = type, data = m.pack(data), schema = schema } } }
    end
    assert(store:append { writes = writes, durability = "os" })
  end
  assert(store:close())
  return dir
end

local function load(files)
  if type(files) == "string" then files = { { "payment.lua", files } } end
  local chains, count, errors, bytes = upcast.chains(files)
  return chains, read(count, errors, bytes)
end

--- What is said about the files: shape errors, or what the proof found.
local function check(files, dir, full)
  local chains, said = load(files)
  if said.errors > 0 then return said end
  return read(assert(chains:prove(dir, full)))
end

local function passes(files, dir, full)
  local said = check(files, dir, full)
  assert.equal(0, #said, said[1] and said[1].message)
end

--- The one error there is.
local function fails(files, dir, full)
  local said = check(files, dir, full)
  assert.equal(1, said.errors, said[2] and said[2].message)
  return ("%s:%d: %s: %s"):format(said[1].file, said[1].line, said[1].code, said[1].message), said[1]
end

local function shape(value) return upcast.shape(m.pack(value)) end

describe("rules/prove: a shape", function()
  it("is the keys and the kinds of values", function()
    assert.equal(shape { a = 1, b = "x" }, shape { a = 77, b = "yyy" })
    local shapes = { { a = 1 }, { a = 1.0 }, { a = "1" }, { a = true }, { a = m.null },
      { a = m.bytes "1" }, { a = {} }, { a = m.array {} }, { b = 1 }, { a = 1, b = 1 }, {},
      m.array {}, 1, "1", 1.0, true, { a = { a = 1 } }, { a = { b = 1 } }, { { a = 1 } },
      { a = { 1 } }, { a = { "1" } }, { a = { 1, "1" } }, { a = { { 1 } } }, m.map { [1] = 1 },
      m.map { [2] = 1 }, { ["1"] = 1 } }
    local seen = {}
    for n, one in ipairs(shapes) do
      local hash = shape(one)
      assert.is_nil(seen[hash], n .. " is like " .. tostring(seen[hash]))
      seen[hash] = n
    end
  end)

  it("has no order of keys", function()
    local a, b, c = "\xa1a\x01", "\xa1b\xa1x", "\xa1c\x90"
    local one = upcast.shape("\x83" .. a .. b .. c)
    for _, other in ipairs { a .. c .. b, b .. a .. c, b .. c .. a, c .. a .. b, c .. b .. a } do
      assert.equal(one, upcast.shape("\x83" .. other))
    end
  end)

  it("has of an array every kind of element once", function()
    assert.equal(shape { a = { 1, 2, 3 } }, shape { a = { 1 } })
    assert.equal(shape { a = { 1, "x", 2, "y" } }, shape { a = { "z", 5 } })
    assert.equal(shape { { n = 1 }, { n = 2 } }, shape { { n = 3 } })
    assert.are_not.equal(shape { { n = 1 } }, shape { { n = 1 }, { n = "x" } })
    assert.are_not.equal(shape { 1, "x" }, shape { 1 })
  end)

  it("of values that are nested as deep as they may be, or cut short, is one", function()
    local deep = ("\x91"):rep(30) .. "\x01"
    assert.are_not.equal(upcast.shape(deep), upcast.shape(("\x91"):rep(29) .. "\x01"))
    for size = 0, #deep do upcast.shape(deep:sub(1, size)) end
    upcast.shape(("\x91"):rep(100))
    upcast.shape(("\x81"):rep(100))
  end)
end)

local PAYMENTS <const> = {
  { "Payment", { sum = 1 } }, { "Payment", { sum = 2, note = "x" } }, { "Other", { a = 1 } },
  { "Payment", { sum = 3 } }, { "Payment", { sum = "4" } },
  { "Payment", { amount = 5, currency = "USD" }, 2 },
  { "Payment", { amount = 6, currency = "EUR", note = "y" }, 2 },
}

describe("rules/prove", function()
  it("lets pass what history cannot break", function()
    local dir = history(PAYMENTS)
    local source = [[return { upcast = "Payment", latest = 2, [1] = {
      rename = { sum = "amount" }, cast = { amount = "integer" }, default = { currency = "EUR" } } }]]
    passes(source, dir)
    passes(source, dir, true)
    passes({}, dir)
    passes(source, history {})
  end)

  it("names the first event, its stream, type and schema, and the line", function()
    local message = fails([[
return { upcast = "Payment", latest = 2,
  [1] = function(d)
    return { amount = d.sum + 1, currency = d.note.currency }
  end }]], history(PAYMENTS))
    assert.equal("payment.lua:3: PROOF: position 1 (stream account-ada, Payment schema 1): "
      .. "attempt to index a nil value (field 'note')", message)
  end)

  it("tries one event of each shape, and with full every event", function()
    local source = [[return { upcast = "Payment", latest = 2, [1] = function(d)
      if d.sum == 3 then error "three" end
      return { amount = d.sum, currency = "EUR" } end }]]
    passes(source, history(PAYMENTS))
    assert.truthy(fails(source, history(PAYMENTS), true):find "^payment.lua:2: PROOF: position 4 ")
    local rare = { { "Payment", { sum = 1 } }, { "Payment", { sum = 3, odd = { 1, "x" } } } }
    assert.truthy(fails(source, history(rare)):find "position 2 ")
  end)

  it("tells shapes of different schemas and types apart", function()
    local dir = history { { "A", { n = 1 } }, { "B", { n = 1 } }, { "A", { n = 1 }, 2 } }
    local function source(type) return type:lower() .. ".lua", [[return { upcast = "]] .. type ..
      [[", latest = 3, [1] = {}, [2] = function() error "two" end }]] end
    local said = check({ { source "A" }, { source "B" } }, dir)
    assert.equal(2, said.errors)
    local other = check({ { "a.lua", [[return { upcast = "A", latest = 3,
      [1] = function() return require "moonlog".drop end, [2] = function() error "two" end }]] } }, dir)
    assert.equal(1, other.errors)
    assert.truthy(other[1].message:find "position 3 %(stream account%-ada, A schema 2%)")
  end)

  it("gives one error for a chain, the first, and one for each chain", function()
    local dir = history { { "A", { n = 1 } }, { "B", { n = 1 } }, { "A", { m = 1 } }, { "B", { m = 1 } } }
    local said = check({ { "a.lua", "return { upcast = 'A', latest = 2, function() error 'a' end }" },
      { "b.lua", "return { upcast = 'B', latest = 2, function() error 'b' end }" } }, dir)
    assert.equal(2, #said)
    assert.truthy(said[1].message:find "position 1 .*: a$")
    assert.truthy(said[2].message:find "position 2 .*: b$")
  end)

  it("sees the system's streams, too", function()
    local dir = history { { "A", { n = 1 }, 1, "$sys-1" } }
    assert.truthy(fails("return { upcast = 'A', latest = 2, function() error 'a' end }", dir):find "$sys%-1")
  end)

  it("wants maps to stay maps", function()
    local source = "return { upcast = 'A', latest = 2, function(d) return 5 end }"
    assert.truthy(fails(source, history { { "A", { n = 1 } } }):find "the data was a map and becomes 5")
    passes(source, history { { "A", "text" }, { "A", nil } })
  end)

  it("wants what every event of the latest schema has, whichever came first", function()
    local old, new = { "P", { sum = 1 } }, { "P", { amount = 1, currency = "EUR", note = "x" }, 2 }
    local newer = { "P", { amount = 2, currency = "USD" }, 2 }
    local good = "return { upcast = 'P', latest = 2, { rename = { sum = 'amount' }, default = { currency = 'EUR' } } }"
    local lossy = "return { upcast = 'P', latest = 2, { rename = { sum = 'amount' } } }"
    for _, events in ipairs { { old, new, newer }, { new, old, newer }, { newer, new, old },
      { newer, old, new } } do
      local dir = history(events)
      passes(good, dir)
      local message = fails(lossy, dir)
      assert.truthy(message:find "the upcast event lacks 'currency', which every stored P of schema 2 has",
        message)
      assert.truthy(message:find("position " .. (events[1] == old and 1 or events[2] == old and 2 or 3) .. " "))
    end
    passes(lossy, history { old })
    passes(lossy, history { old, { "P", { amount = 1 }, 2 }, newer })
    passes(lossy, history { old, { "P", { amount = 1, currency = m.null }, 2 }, newer })
  end)

  it("counts null as none", function()
    local dir = history { { "P", { sum = 1 } }, { "P", { amount = 1, currency = "EUR" }, 2 } }
    assert.truthy(fails([[return { upcast = "P", latest = 2,
      { rename = { sum = "amount" }, default = { currency = require "moonlog".null } } }]], dir)
      :find "lacks 'currency'")
  end)

  it("names the first event that loses a field, also if others keep it", function()
    local dir = history { { "P", { amount = 1 } }, { "P", { amount = 1, x = 1 } }, { "P", { b = 1 } },
      { "P", { amount = 2 }, 2 } }
    assert.truthy(fails("return { upcast = 'P', latest = 2, {} }", dir)
      :find "position 3 .* lacks 'amount'")
    dir = history { { "P", { a = 1, b = 1 } }, { "P", { a = 1 } }, { "P", { b = 1 } },
      { "P", { a = 1, b = 1 }, 2 } }
    assert.truthy(fails("return { upcast = 'P', latest = 2, {} }", dir)
      :find "position 2 .* lacks 'b'")
  end)

  it("looks at parts of a split as events of their types", function()
    local files = {
      { "p.lua", [[local moonlog = require "moonlog"
        return { upcast = "P", latest = 2, function(d)
          return moonlog.split { { amount = d.sum }, moonlog.event("Fee", { fee = d.fee }) } end }]] },
      { "fee.lua", "return { upcast = 'Fee', latest = 2, { rename = { fee = 'amount' } } }" } }
    passes(files, history { { "P", { sum = 1, fee = 2 } }, { "P", { amount = 1 }, 2 },
      { "Fee", { amount = 3 }, 2 } })
    assert.truthy(fails(files, history { { "P", { sum = 1 } }, { "P", { amount = 1 }, 2 },
      { "Fee", { amount = 3 }, 2 } }):find "lacks 'amount', which every stored Fee of schema 2 has")
  end)

  it("asks nothing of events that are dropped", function()
    passes([[return { upcast = "P", latest = 2, function() return require "moonlog".drop end }]],
      history { { "P", { sum = 1 } }, { "P", { amount = 1 }, 2 } })
  end)

  it("warns of events behind the end of a chain, once", function()
    local said = check("return { upcast = 'P', latest = 2, {} }",
      history { { "P", { a = 1 }, 3 }, { "P", { b = 1 }, 4 } })
    assert.equal(0, said.errors)
    assert.equal(1, #said)
    assert.equal("warning", said[1].severity)
    assert.truthy(said[1].message:find "position 1 .*P schema 3%) is behind the end of the chain, latest = 2")
  end)

  it("follows many shapes and fields", function()
    local events = {}
    for n = 1, 5000 do
      events[n] = { "P", { sum = n, ["k" .. n] = n } }
    end
    events[5001] = { "P", { sum = 1, bad = 1 } }
    events[5002] = { "P", { amount = 1 }, 2 }
    local source = [[return { upcast = "P", latest = 2, function(d)
      if d.bad then error "bad" end d.amount = d.sum return d end }]]
    assert.truthy(fails(source, history(events)):find "position 5001 ")
    events[5001] = nil
    events[5001], events[5002] = events[5002], nil
    local said = check(source, history(events))
    assert.equal(0, said.errors)
    assert.truthy(said[1].message:find "over 4096 fields")
  end)

  it("stops at stored bytes that are damaged", function()
    local dir = history(PAYMENTS)
    local path = dir .. "/log/00000000000000000001.seg"
    local file = assert(io.open(path, "r+b"))
    local content = file:read "a"
    file:seek("set", content:find("USD", 1, true) - 1)
    file:write "XXX"
    file:close()
    local chains = load "return { upcast = 'Payment', latest = 2, { rename = { sum = 'amount' } } }"
    local done, why = chains:prove(dir)
    assert.is_nil(done)
    assert.truthy(why:find "^CORRUPT: ", why)
  end)
end)

describe("rules/prove: planted bugs", function()
  -- The history that none of them survives: optional fields, several kinds, nested maps, an event
  -- with no data, and what the latest schema looks like.
  local dir = history {
    { "Payment", { sum = 100, payer = { name = "ann", city = "Oslo" }, tags = { "a" } } },
    { "Payment", { sum = 100, payer = { name = "bob" } } },
    { "Payment", { sum = 2.5, payer = { name = "cyd" } } },
    { "Payment", { sum = "300", payer = { name = "dan" } } },
    { "Payment", { sum = 0, payer = { name = "eve" }, rate = 0 } },
    { "Payment", { sum = 7 } },
    { "Payment", { sum = 8, amount = 8, payer = { name = "fay" } } },
    { "Payment", { sum = 9, payer = m.null } },
    { "Payment", { amount = 100, currency = "EUR", name = "gus" }, 3 },
    { "Payment", { amount = 200, currency = "USD", name = "hal", note = "x" }, 3 },
  }

  local function steps(one, two, head)
    return (head or "") .. "\nreturn { upcast = 'Payment', latest = 3, [1] = " .. one
      .. ", [2] = " .. two .. " }"
  end
  local FIRST <const> = [[function(d)
    local sum = math.tointeger(tonumber(d.sum)) or 0
    local name = d.payer and d.payer ~= moonlog.null and d.payer.name or "?"
    return { amount = sum, name = name } end]]
  local SECOND <const> = "{ default = { currency = 'EUR' } }"
  local HEAD <const> = "local moonlog = require 'moonlog'"

  it("are none in what they are planted in", function()
    passes(steps(FIRST, SECOND, HEAD), dir)
    passes(steps(FIRST, SECOND, HEAD), dir, true)
  end)

  local bugs = {
    { "a forgotten return", steps("function(d) d.x = 1 end", SECOND), "forgot return" },
    { "a return only on one way", steps("function(d) if d.tags then return d end end", SECOND),
      "forgot return" },
    { "an optional field taken for granted",
      steps("function(d) return { amount = 1, name = d.payer.name } end", SECOND), "nil value" },
    { "a second optional field taken for granted",
      steps("function(d) return { amount = 1, name = 'x', c = d.tags[1] } end", SECOND), "nil value" },
    { "the length of what is no text", steps("function(d) return { amount = #d.sum, name = 'x' } end", SECOND),
      "attempt to get length of a number value" },
    { "a rename onto a field that some have", steps("{ rename = { sum = 'amount' } }", SECOND),
      "'amount' would be there twice" },
    { "a cast that some values cannot take", steps("{ cast = { sum = 'integer' } }", SECOND),
      "'sum' is 2.5, which cannot be cast to integer" },
    { "a misspelt target", steps((FIRST:gsub("amount =", "ammount =")), SECOND, HEAD), "lacks 'amount'" },
    { "a default that is missing", steps(FIRST, "{}", HEAD), "lacks 'currency'" },
    { "a field dropped that is needed", steps(FIRST, "{ drop = { 'name' }, default = { currency = 'E' } }", HEAD),
      "lacks 'name'" },
    { "a field set to nil on one way", steps(FIRST,
      "function(d) d.currency = 'EUR' if d.amount == 0 then d.amount = nil end return d end", HEAD),
      "lacks 'amount'" },
    { "a hole", "return { upcast = 'Payment', latest = 3, [1] = {} }", "there is no step %[2%]" },
    { "a chain that ends too early", "return { upcast = 'Payment', latest = 2, [1] = {}, [2] = {} }",
      "is not between" },
    { "a division by zero", steps(FIRST,
      "function(d) d.currency = 'EUR' d.share = 100 / (d.amount - 100) return d end", HEAD), "NaN or an infinity" },
    { "a function as a value", steps(FIRST, "function(d) d.currency = function() end return d end", HEAD),
      "currency is a function" },
    { "text instead of a table", steps(FIRST, "function(d) return d.name end", HEAD), "was a map and becomes" },
    { "the event instead of its data", steps("function(d, e) return e end", SECOND), "userdata" },
    { "an endless loop", steps("function(d) while not d.done do end return d end", SECOND), "longer than it may" },
    { "endless recursion", steps("function(d) return f(d) end", SECOND,
      "local function f(d) return 1 + f(d) end"), "stack overflow", "longer than it may" }, -- whichever is first
    { "memory without end", steps(FIRST,
      "function(d) local text = 'x' while true do text = text .. text end end", HEAD), "memory" },
    { "an undeclared global", steps("function(d) total = d.sum return d end", SECOND), "total" },
    { "a library that rules do not have", steps("function(d) d.at = os.time() return d end", SECOND), "os" },
    { "a table with mixed keys", steps(FIRST, "function(d) d.currency = 'EUR' d[1] = 5 return d end", HEAD),
      "holes or mixed keys" },
    { "a split of what is no table", steps("function(d) return moonlog.split { d.sum } end", SECOND, HEAD),
      "a part of a split is" },
    { "a split that goes back", steps(
      "function(d) return moonlog.split { moonlog.event('Payment', d, { schema = 1 }) } end", SECOND, HEAD),
      "over the step's" },
    { "a refusal", steps("function(d) return moonlog.refuse 'NO' end", SECOND, HEAD), "cannot be refused" },
    { "a move through what is no map", steps("{ move = { ['sum.value'] = 'value' } }", SECOND),
      "'sum' is 100, and the step needs a map" },
    { "a table that contains itself", steps(FIRST, "function(d) d.currency = d return d end", HEAD),
      "more than 30 levels" },
  }
  it("are at least twenty", function() assert.is_true(#bugs >= 20) end)
  for _, bug in ipairs(bugs) do
    it("do not pass: " .. bug[1], function()
      local message, one = fails(bug[2], dir)
      assert.truthy(message:find(bug[3]) or message:find(bug[4] or bug[3]), message)
      assert.equal("payment.lua", one.file)
    end)
  end
end)
