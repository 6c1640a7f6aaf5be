-- The contract in core/rules/upcast.h: files of upcasters, chains of steps, functions among them.
--
-- luacheck: ignore 631 (rule files are quoted as they are)
local upcast = require "coretest".upcast
local m = require "moonlog"

--- All diagnostics of a call, as tables.
local function read(count, errors, bytes)
  local list = m.unpack(string.pack(">B I2", 0xdc, count) .. bytes)
  list.errors = errors
  return list
end

--- Chains of some files, { path, source }; or of one source.
local function load(files, added)
  if type(files) == "string" then files = { { "payment.lua", files } } end
  local chains, count, errors, bytes = upcast.chains(files, added)
  return chains, read(count, errors, bytes)
end

local function good(files, added)
  local chains, said = load(files, added)
  assert.same({ errors = 0 }, said)
  return chains
end

--- The one error that a file has.
local function bad(files, added)
  local _, said = load(files, added)
  assert.equal(1, said.errors, m.pack and #said > 1 and said[2].message or nil)
  assert.equal("error", said[1].severity)
  return said[1].code .. ": " .. said[1].message, said[1]
end

local function event(data, more)
  local one = { type = "Payment", schema = 1, stream = "account-ada", data = m.pack(data) }
  for key, value in pairs(more or {}) do one[key] = value end
  return one
end

--- What an event becomes: a list of { type, value }, the schema of the first, and all schemas.
local function push(chains, one)
  local parts, schema = chains:push(one)
  if not parts then return nil, schema end
  local schemas = {}
  for n, part in ipairs(parts) do
    part[2], part[3], schemas[n] = m.unpack(part[2]), nil, part[3]
  end
  return parts, schema, schemas
end

--- The data of the one event that comes of it.
local function becomes(chains, data, more)
  local parts, schema = push(chains, event(data, more))
  assert(parts, parts or (schema and schema.message))
  assert.equal(1, #parts)
  return parts[1][2], schema
end

local function fails(chains, data, more)
  local parts, fault = push(chains, event(data, more))
  assert.is_nil(parts)
  return fault.file .. ":" .. fault.line .. ": " .. fault.message, fault
end

local function same(expected, actual) assert.equal(m.pack(expected), m.pack(actual)) end

local CONTRACT <const> = [[
return { upcast = "Payment", latest = 2,
  [1] = { rename = { sum = "amount" }, default = { currency = "EUR" } },
}]]

describe("rules/upcast: a file", function()
  it("is a chain", function()
    local chains = good(CONTRACT)
    assert.same({ { "Payment", 2 } }, chains:each())
    same({ amount = 5, currency = "EUR" }, becomes(chains, { sum = 5 }))
  end)

  it("is wanted for the schemas that it leads from", function()
    local chains = good(CONTRACT)
    assert.is_true(chains:wants("Payment", 1))
    assert.is_false(chains:wants("Payment", 2))
    assert.is_false(chains:wants("Payment", 9))
    assert.is_false(chains:wants("Other", 1))
    assert.is_false(good({ { "a.lua", "" } }, {}):wants("Payment", 1))
  end)

  it("is one of many", function()
    local files = {}
    for n = 1, 100 do
      files[n] = { "t" .. n .. ".lua",
        ("return { upcast = 'T%d', latest = 2, [1] = { default = { n = %d } } }"):format(n, n) }
    end
    local chains = good(files)
    assert.equal(100, #chains:each())
    for n = 1, 100 do
      same({ n = n }, becomes(chains, {}, { type = "T" .. n }))
    end
    assert.is_false(chains:wants("T101", 1))
  end)

  it("is refused with all that is wrong with it, and its name", function()
    local _, said = load [[
return { upcast = "", latest = 1, lastest = 2, [1.5] = {}, [true] = {} }]]
    assert.equal(5, said.errors)
    for _, one in ipairs(said) do assert.equal("payment.lua", one.file) end
  end)

  local refusals = {
    { "no table", "return 5", "SHAPE: the file returns a number" },
    { "no type", "return { latest = 2, [1] = {} }", "SHAPE: upcast is the type of an event" },
    { "a type that is no text", "return { upcast = {}, latest = 2, [1] = {} }", "SHAPE: upcast is" },
    { "a type that is too long", "return { upcast = ('x'):rep(257), latest = 2, [1] = {} }",
      "SHAPE: upcast is" },
    { "no latest", "return { upcast = 'P', [1] = {} }", "CHAIN: latest is the schema that" },
    { "latest 1", "return { upcast = 'P', latest = 1 }", "CHAIN: latest is the schema that" },
    { "latest that is no integer", "return { upcast = 'P', latest = 2.5, [1] = {} }", "CHAIN: latest" },
    { "latest that is text", "return { upcast = 'P', latest = '2', [1] = {} }", "CHAIN: latest" },
    { "too many steps", "return { upcast = 'P', latest = 258 }", "from 2 to 257" },
    { "a hole", "return { upcast = 'P', latest = 4, [1] = {}, [3] = {} }",
      "CHAIN: there is no step %[2%]: nothing makes schema 3 of schema 2" },
    { "no first step", "return { upcast = 'P', latest = 2 }", "there is no step %[1%]" },
    { "a step behind the end", "return { upcast = 'P', latest = 2, {}, {} }",
      "CHAIN: step %[2%] is not between %[1%] and latest = 2" },
    { "a step before the first", "return { upcast = 'P', latest = 2, [0] = {}, [1] = {} }",
      "step %[0%] is not" },
    { "a float as a key", "return { upcast = 'P', latest = 2, [1] = {}, [1.5] = {} }",
      "CHAIN: a float is no key here" },
    { "a boolean as a key", "return { upcast = 'P', latest = 2, [1] = {}, [true] = {} }",
      "CHAIN: a boolean is no key here" },
    { "a misspelt word", "return { upcast = 'P', lastest = 2, latest = 2, [1] = {} }",
      'SHAPE: unknown key "lastest" %(did you mean "latest"%?%)' },
    { "a foreign word", "return { upcast = 'P', latest = 2, [1] = {}, something_else = 1 }",
      'unknown key "something_else" %(there are: upcast, latest' },
    { "a step that is no step", "return { upcast = 'P', latest = 2, [1] = 'rename' }",
      "SHAPE: step %[1%] is a string; a step is a table" },
    { "a misspelt part", "return { upcast = 'P', latest = 2, [1] = { renam = { a = 'b' } } }",
      'step %[1%]: unknown key "renam" %(did you mean "rename"%?%)' },
    { "a part that is no table", "return { upcast = 'P', latest = 2, [1] = { drop = 'a' } }",
      "step %[1%]: drop: it is a table, not a string" },
    { "a list of renames", "return { upcast = 'P', latest = 2, [1] = { rename = { 'a' } } }",
      "step %[1%]: rename: its keys are names" },
    { "a drop by name", "return { upcast = 'P', latest = 2, [1] = { drop = { a = true } } }",
      "step %[1%]: drop: it is a list of fields" },
    { "a drop of no name", "return { upcast = 'P', latest = 2, [1] = { drop = { 'a', 5 } } }",
      "step %[1%]: drop: it is a list of fields" },
    { "a rename to no name", "return { upcast = 'P', latest = 2, [1] = { rename = { a = 5 } } }",
      "step %[1%]: rename: 'a' goes to a number" },
    { "a rename of a path", "return { upcast = 'P', latest = 2, [1] = { rename = { ['a.b'] = 'c' } } }",
      "step %[1%]: rename: rename takes fields of the data itself" },
    { "a misspelt kind", "return { upcast = 'P', latest = 2, [1] = { cast = { a = 'intger' } } }",
      "step %[1%]: cast: 'a' is cast to unknown kind \"intger\" %(did you mean \"integer\"%?%)" },
    { "a kind that is none", "return { upcast = 'P', latest = 2, [1] = { cast = { a = 5 } } }",
      "step %[1%]: cast: 'a' is cast to \"integer\", \"float\", \"string\" or \"boolean\"" },
    { "a default that cannot be stored",
      "return { upcast = 'P', latest = 2, [1] = { default = { a = type } } }",
      "step %[1%]: default: 'a' is a function" },
    { "a default that is NaN", "return { upcast = 'P', latest = 2, [1] = { default = { a = {0/0} } } }",
      "step %[1%]: default: 'a' holds NaN" },
    { "wishes that do not go together",
      "return { upcast = 'P', latest = 2, [1] = { drop = { 'a' }, default = { ['a.b'] = 1 } } }",
      "step %[1%]: dropping 'a' does not go with what is wished for 'a.b' inside it" },
  }
  for _, case in ipairs(refusals) do
    it("is refused for " .. case[1], function()
      local message, one = bad(case[2])
      assert.truthy(message:find(case[3]), message)
      assert.equal("payment.lua", one.file)
    end)
  end

  it("is refused with the line of the step, where its number stands there", function()
    local _, one = bad [[
-- [2] is what comes
local x = ({ 1, 2 })[2] == 2
return { upcast = "P", latest = 3,
  [1] = {},
  [2] = { drop = 5 } }]]
    assert.equal(5, one.line)
    assert.equal(0, select(2, bad "return { upcast = 'P', latest = 2, { drop = 5 } }").line)
  end)

  it("is refused if another has the type", function()
    local message, one = bad { { "payment.lua", CONTRACT }, { "again.lua", CONTRACT } }
    assert.equal("CHAIN: Payment has its chain in payment.lua; one file holds all steps of a type",
      message)
    assert.equal("again.lua", one.file)
  end)

  it("makes the same bytes in every state", function()
    local source = [[return { upcast = "P", latest = 2, [1] = { default =
      { a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, ["g.h"] = 7, ["g.a"] = 8 } } }]]
    local one = event({}, { type = "P" })
    local first = good(source):plain(one)
    assert.equal(m.pack { a = 1 }:sub(2), first:sub(2, 4))
    for _ = 1, 20 do assert.equal(first, (good(source):plain(one))) end
  end)

  it("may have tables without wishes", function()
    same(5, becomes(good "return { upcast = 'Payment', latest = 2, [1] = {} }", 5))
  end)
end)

describe("rules/upcast: a chain", function()
  local LONG <const> = [[
return { upcast = "Payment", latest = 5,
  [1] = { rename = { sum = "amount" } },
  [2] = { default = { currency = "EUR" } },
  [3] = function(d) d.amount = d.amount * 10 return d end,
  [4] = { cast = { amount = "string" } },
}]]

  it("begins where the event's schema says", function()
    local chains = good(LONG)
    local function from(schema, data) return (becomes(chains, data, { schema = schema })) end
    same({ amount = "50", currency = "EUR" }, from(1, { sum = 5 }))
    same({ amount = "50", currency = "EUR" }, from(2, { amount = 5 }))
    same({ amount = "50" }, from(3, { amount = 5 }))
    same({ amount = "5" }, from(4, { amount = 5 }))
    same({ amount = 5 }, from(5, { amount = 5 }))
    same({ amount = 5 }, from(9, { amount = 5 }))
  end)

  it("says the schema at its end", function()
    local chains = good(LONG)
    for schema = 1, 5 do
      assert.equal(5, (select(2, becomes(chains, { sum = 1, amount = schema > 1 and 1 or nil },
        { schema = schema }))))
    end
    assert.equal(9, (select(2, becomes(chains, {}, { schema = 9 }))))
    assert.equal(3, (select(2, becomes(chains, {}, { type = "Other", schema = 3 }))))
  end)

  it("gives as bytes what its tables make, up to the first function", function()
    local chains = good(LONG)
    local data, schema = chains:plain(event { sum = 5 })
    same({ amount = 5, currency = "EUR" }, m.unpack(data))
    assert.equal(3, schema)
    data, schema = chains:plain(event({ amount = 5 }, { schema = 4 }))
    same({ amount = "5" }, m.unpack(data))
    assert.equal(5, schema)
    data, schema = chains:plain(event({ amount = 5 }, { schema = 3 }))
    same({ amount = 5 }, m.unpack(data))
    assert.equal(3, schema)
    data, schema = chains:plain(event({ a = 1 }, { type = "Other", schema = 7 }))
    same({ a = 1 }, m.unpack(data))
    assert.equal(7, schema)
  end)

  it("refuses data that does not fit, naming file, type and step", function()
    local chains = good(LONG)
    local data, why = chains:plain(event { sum = 5, amount = 6 })
    assert.is_nil(data)
    assert.truthy(why:find("^SCRIPT_ERROR: payment%.lua:2: Payment, step %[1%]: field 'amount'"), why)
    assert.truthy(fails(chains, { sum = 5, amount = 6 })
      :find("^payment%.lua:2: Payment, step %[1%]: field 'amount' would be there twice"))
    assert.truthy(fails(chains, 5):find "data is 5, and the step needs a map")
  end)

  it("can be as long as 256 steps", function()
    local steps = {}
    for n = 1, 256 do
      steps[n] = ("[%d] = { rename = { f%d = 'f%d' } },"):format(n, n, n + 1)
    end
    local chains = good("return { upcast = 'Payment', latest = 257, " .. table.concat(steps) .. "}")
    same({ f257 = 1 }, becomes(chains, { f1 = 1 }))
    same({ f257 = 1 }, m.unpack((chains:plain(event { f1 = 1 }))))
  end)

  it("of empty tables leaves data where it is", function()
    local chains = good [[return { upcast = "Payment", latest = 5,
      [1] = {}, [2] = { default = { a = 1 } }, [3] = {}, [4] = { default = { b = 2 } } }]]
    same({ a = 1, b = 2 }, becomes(chains, {}))
    same({ a = 1, b = 2 }, m.unpack((chains:plain(event {}))))
  end)

  it("stops data that grows without bound", function()
    local chains = good [[
local steps = { upcast = "Payment", latest = 9 }
for n = 1, 8 do steps[n] = { default = { ["f" .. n] = ("x"):rep(600000) } } end
return steps]]
    assert.truthy(fails(chains, {}):find "data is over 2097152 bytes")
    assert.truthy(select(2, chains:plain(event {})):find "data is over 2097152 bytes")
  end)
end)

describe("rules/upcast: a function", function()
  local function step(body, more)
    return good(("return { upcast = 'Payment', latest = 2,\n[1] = function(d, e)\n%s\nend }%s")
      :format(body, more or ""))
  end
  local function says(pattern, body, data)
    local message = fails(step("local moonlog = require 'moonlog'; " .. body), data or { a = 1 })
    assert.truthy(message:find(pattern), message)
  end

  it("gives the new data", function()
    same({ n = 6 }, becomes(step "d.n = d.n + 1 return d", { n = 5 }))
    same({ old = { n = 5 } }, becomes(step "return { old = d }", { n = 5 }))
    same("text", becomes(step "return 'text'", { n = 5 }))
    same({ 1, 2 }, becomes(step "return { 1, 2 }", { n = 5 }))
    same(false, becomes(step "return false", true))
  end)

  it("sees no data as nil, and null as data gives none", function()
    same(1, becomes(step "assert(d == nil) return 1", nil))
    same(nil, becomes(step "return require 'moonlog'.null", {}))
    local chains = good [[return { upcast = "Payment", latest = 3,
      function() return require "moonlog".null end, function(d) return d == nil end }]]
    same(true, becomes(chains, {}))
  end)

  it("sees the event as it is stored", function()
    same({ "account-ada", 1, 42, "Payment" },
      becomes(step "return { e.stream, e.schema, e.position, e.type }", {}, { position = 42 }))
    same(7, becomes(good [[return { upcast = "Payment", latest = 2,
      [1] = function(...) return select(2, ...).position end }]], {}, { position = 7 }))
  end)

  it("that gives nil forgot return", function()
    says("^payment%.lua:2: Payment, step %[1%]: it returned nil; forgot return%?", "d.n = 1")
    says("forgot return", "return")
    says("forgot return", "return nil")
  end)

  it("that raises is named with its line", function()
    local message, fault = fails(step "\nerror 'no'", {})
    assert.equal("payment.lua:4: no", message)
    assert.equal(4, fault.line)
    says("^payment%.lua:3: attempt to index a nil value %(field 'b'%)", "return d.b.c")
  end)

  it("gives nothing that cannot be stored", function()
    local function spoils(pattern, body) says("Payment, step %[1%]: .*" .. pattern, body) end
    spoils("data holds NaN or an infinity", "d.n = 0/0 return d")
    spoils("data holds NaN or an infinity", "d.n = { { 1/0 } } return d")
    spoils("NaN", "return -1/0")
    spoils("data%.f is a function, which cannot be stored", "d.f = type return d")
    spoils("data%.list%[2%] is a function", "d.list = { 1, type } return d")
    spoils("data is a function", "return type")
    spoils("data%.e is a userdata", "d.e = e return d")
    spoils("data is a userdata", "return e")
    spoils("holes or mixed keys", "return { 1, nil, 3, x = 1 }")
    spoils("holes or mixed keys", "d.x = { a = 1, [5] = 2 } return d")
    spoils("holes or mixed keys", "return { 1, nil, 3 }")
    spoils("holes or mixed keys", "return { 1, 2, x = 1 }")
    spoils("holes or mixed keys", "return { 1, 2, [9] = 1 }")
    for n = 1, 20 do -- wherever the number lies among the names
      local names = {}
      for i = 1, n do names[i] = ("d.k%d = %d"):format(i * n, i) end
      spoils("holes or mixed keys", table.concat(names, " ") .. " d[1] = 5 return d")
    end
    spoils("holes or mixed keys", "return moonlog.array { [2] = 1 }")
    spoils("has a boolean as a key", "return { [true] = 1 }")
    spoils("has a float as a key", "return moonlog.map { [1.5] = 1 }")
    spoils("more than 30 levels", "d.d = d return d")
    same(m.map { [5] = 2 }, becomes(step "return require 'moonlog'.map { [5] = 2 }", {}))
  end)

  it("is held to that in front of a table too", function()
    local chains = good [[return { upcast = "Payment", latest = 3,
      function(d) d.n = 0/0 return d end, { default = { a = 1 } } }]]
    assert.truthy(fails(chains, {}):find "^payment%.lua:2: Payment, step %[1%]: data holds NaN")
  end)

  it("lets NaN that is stored through to functions, which may mend it", function()
    same({ n = 0 }, becomes(step "if d.n ~= d.n then d.n = 0 end return d", { n = 0 / 0 }))
  end)

  it("keeps every kind of value", function()
    local all = { null = m.null, bytes = m.bytes "\xff\0", list = { 1, { 2 } }, empty = m.array {},
      float = 2.0, int = 2, map = m.map { [7] = "x" }, text = "é", yes = true }
    same(all, becomes(step "return d", all))
    same(m.ext and m.ext(5, "abc") or 1, becomes(step "return d", m.ext and m.ext(5, "abc") or 1))
  end)

  it("says other words only where they mean something", function()
    says("it returned a moonlog%.event; return moonlog%.split", "return moonlog.event('X', {})")
    says("it returned moonlog%.refuse", "return moonlog.refuse 'NO'")
    says("it returned moonlog%.delete", "return moonlog.delete")
  end)
end)

describe("rules/upcast: dropping and splitting", function()
  local function chains(body, files)
    local all = { { "payment.lua", ("local moonlog = require 'moonlog'\n"
      .. "return { upcast = 'Payment', latest = 3, [2] = { default = { currency = 'EUR' } },\n"
      .. "[1] = function(d, e)\n%s\nend }"):format(body) } }
    for _, file in ipairs(files or {}) do all[#all + 1] = file end
    return good(all)
  end

  it("leaves an event out", function()
    local dropping = chains "if d.test then return moonlog.drop end return d"
    assert.same({}, (push(dropping, event { test = true })))
    same({ a = 1, currency = "EUR" }, becomes(dropping, { a = 1 }))
    assert.same({}, (push(chains "return moonlog.split {}", event {})))
  end)

  it("makes several of one, each of which goes on", function()
    local parts, schema = push(chains "return moonlog.split { { n = 1 }, { n = d.n } }", event { n = 7 })
    assert.equal(3, schema)
    same({ { "Payment", { n = 1, currency = "EUR" } }, { "Payment", { n = 7, currency = "EUR" } } }, parts)
  end)

  it("makes events of other types, from where their schemas are", function()
    local fee = { "fee.lua", [[return { upcast = "Fee", latest = 3,
      [1] = { rename = { a = "b" } }, [2] = function(d) d.b = d.b + 1 return d end }]] }
    local splitting = chains([[return moonlog.split {
      moonlog.event("Fee", { a = 1 }), { n = 1 }, moonlog.event("Fee", { b = 1 }, { schema = 2 }),
      moonlog.event("Fee", { c = 1 }, { schema = 3 }), moonlog.event("Other", { x = 1 }),
      moonlog.event("Other"), moonlog.event("Payment", { y = 1 }, { schema = 3 }),
      moonlog.event("Payment", { z = 1 }) }]], { fee })
    same({ { "Fee", { b = 2 } }, { "Payment", { n = 1, currency = "EUR" } }, { "Fee", { b = 2 } },
      { "Fee", { c = 1 } }, { "Other", { x = 1 } }, { "Other" }, { "Payment", { y = 1 } },
      { "Payment", { z = 1, currency = "EUR" } } }, push(splitting, event {}))
  end)

  it("tells the schema of each", function()
    local splitting = chains [[return moonlog.split { moonlog.event("Other", 1, { schema = 7 }), d,
      moonlog.event("Other") }]]
    local _, first, all = push(splitting, event {})
    assert.equal(7, first)
    assert.same({ 7, 3, 1 }, all)
    assert.same({ 9 }, (select(3, push(splitting, event({}, { schema = 9 })))))
    assert.equal(1, (select(2, push(chains "return moonlog.drop", event {}))))
  end)

  it("splits what was split, in order", function()
    local splitting = good [[
local moonlog = require "moonlog"
local function twice(d) return moonlog.split { { n = d.n .. "a" }, { n = d.n .. "b" } } end
return { upcast = "Payment", latest = 4, twice, twice, twice }]]
    local parts = push(splitting, event { n = "" })
    local all = {}
    for n, part in ipairs(parts) do all[n] = part[2].n end
    assert.equal("aaa aab aba abb baa bab bba bbb", table.concat(all, " "))
  end)

  it("makes 64 events at most", function()
    local many = chains "local l = {} for n = 1, d.n do l[n] = {} end return moonlog.split(l)"
    assert.equal(64, #push(many, event { n = 64 }))
    assert.truthy(fails(many, { n = 65 }):find "becomes more than 64")
    local doubling = good [[
local moonlog = require "moonlog"
local function twice(d) return moonlog.split { {}, {} } end
local steps = { upcast = "Payment", latest = 100 }
for n = 1, 99 do steps[n] = twice end
return steps]]
    assert.truthy(fails(doubling, {}):find "becomes more than 64")
  end)

  it("ends where events split into each other", function()
    local circle = { "b.lua", [[local moonlog = require "moonlog"
      return { upcast = "B", latest = 2,
        function(d) return moonlog.split { moonlog.event("Payment", d, { schema = 1 }) } end }]] }
    local message = fails(chains("return moonlog.split { moonlog.event('B', d) }", { circle }), {})
    assert.truthy(message:find "more than 256 steps: do events split into each other%?", message)
  end)

  local refusals = {
    { "{ 5 }", "a part of a split is a table of data or a moonlog%.event" },
    { "{ moonlog.drop }", "a part of a split is" },
    { "{ moonlog.split { {} } }", "a part of a split is" },
    { "{ {}, 'text' }", "a part of a split is" },
    { "{ moonlog.event('Payment', {}, { schema = 1 }) }", "a schema that is over the step's, or none" },
    { "{ moonlog.event('X', {}, { tags = { 't' } }) }", "tags and meta are those that are stored" },
    { "{ moonlog.event('X', {}, { meta = {} }) }", "tags and meta are those that are stored" },
    { "{ moonlog.event('X', type) }", "data is a function" },
    { "{ moonlog.event('X', 0/0) }", "NaN" },
    { "{ moonlog.event('Payment', { f = type }, { schema = 3 }) }", "data%.f is a function" },
    { "{ { f = type } }", "data%.f is a function" },
  }
  for _, case in ipairs(refusals) do
    it("refuses " .. case[1], function()
      local message = fails(chains("return moonlog.split " .. case[1]), {})
      assert.truthy(message:find(case[2]), message)
      assert.truthy(message:find "^payment%.lua:%d")
    end)
  end

  it("refuses a part that was spoilt after it was made", function()
    for _, spoil in ipairs { "p.type = nil", "p.type = {}", "p.schema = 'x'", "p.schema = -1" } do
      local message = fails(chains("local p = moonlog.event('X', {}) " .. spoil
        .. " return moonlog.split { p }"), {})
      assert.truthy(message:find "part", message)
    end
  end)
end)

describe("rules/upcast: tables and functions", function()
  -- A step as tables of C, and the same as a function of Lua.
  local function clone(value)
    if type(value) ~= "table" then return value end
    local copy = {}
    for key, inner in pairs(value) do copy[key] = clone(inner) end
    return copy
  end
  local FUNCTION <const> = [=[
local moonlog = require "moonlog"
local function there(v) return v ~= nil and v ~= moonlog.null end
local function same_kind(v, kind)
  return kind == "string" and type(v) == "string" or kind == "boolean" and type(v) == "boolean"
    or kind == "integer" and math.type(v) == "integer" or kind == "float" and math.type(v) == "float"
end
local casts = {
  integer = function(v)
    if math.type(v) == "float" then return math.tointeger(v) end
    if type(v) == "string" and v:find "^[+-]?%d+$" then return math.tointeger(tonumber(v)) end
  end,
  float = function(v)
    if math.type(v) == "integer" then return v + 0.0 end
    if type(v) == "string" and v:find "^[%d.+-]+$" then return tonumber(v) and tonumber(v) + 0.0 end
  end,
  string = function(v)
    if type(v) == "number" then return math.type(v) == "integer" and ("%d"):format(v) or ("%.1f"):format(v) end
    if type(v) == "boolean" then return v and "true" or "false" end
  end,
  boolean = function(v)
    if v == "true" or math.type(v) == "integer" and v == 1 then return true end
    if v == "false" or math.type(v) == "integer" and v == 0 then return false end
  end,
}
local function split(path)
  local parts = {}
  for part in path:gmatch "[^.]+" do parts[#parts + 1] = part end
  return parts
end
local function plain_map(v) return type(v) == "table" and getmetatable(v) == nil end
local function get(d, path)
  for _, part in ipairs(split(path)) do
    if d == nil or d == moonlog.null then return nil end
    if not plain_map(d) then error "needs a map" end
    d = d[part]
  end
  return d
end
local function set(d, path, value)
  local parts = split(path)
  for n = 1, #parts - 1 do
    if not there(d[parts[n]]) then
      if value == nil then return end
      d[parts[n]] = {}
    end
    d = d[parts[n]]
    if not plain_map(d) then error "needs a map" end
  end
  if value ~= nil and d[parts[#parts]] ~= nil and d[parts[#parts]] ~= moonlog.null then error "there" end
  d[parts[#parts]] = value
end
return { upcast = "Payment", latest = 2, [1] = function(d)
  local step = STEP
  if not plain_map(d) then error "needs a map" end
  local out, taken = {}, {}
  for key, value in pairs(d) do
    local to = step.rename and step.rename[key] or key
    if out[to] ~= nil then error "twice" end
    out[to] = value
  end
  for from, to in pairs(step.move or {}) do
    taken[#taken + 1] = { from, to, get(out, from) }
  end
  for _, one in ipairs(taken) do set(out, one[1], nil) end
  for _, one in ipairs(taken) do
    if one[3] ~= nil then
      if get(out, one[2]) ~= nil then error "there" end
      set(out, one[2], one[3])
    end
  end
  for _, path in ipairs(step.drop or {}) do get(out, path) set(out, path, nil) end
  for path, kind in pairs(step.cast or {}) do
    local value = get(out, path)
    if there(value) and not same_kind(value, kind) then
      local new = casts[kind](value)
      if new == nil then error "cast" end
      set(out, path, nil)
      set(out, path, new)
    end
  end
  for path, value in pairs(step.default or {}) do
    if not there(get(out, path)) then set(out, path, value) end
  end
  return out
end }]=]

  local names = { "a", "b", "c", "d" }
  local paths = { "a", "b", "c", "d", "m.a", "m.b", "n.a", "n.o.a" }
  local function pick(list) return list[math.random(#list)] end
  local function value()
    return pick { 1, 0, 5, -7, 2.0, 2.5, "1", "12", "x", "true", "", true, false, m.null, "1.5", { 1 } }
  end
  local function data()
    local one = {}
    for _ = 1, math.random(0, 4) do one[pick { "a", "b", "c", "d", "e" }] = value() end
    for _, map in ipairs { "m", "n" } do
      if math.random() < 0.5 then one[map] = { [pick(names)] = value() } end
      if math.random() < 0.1 then one[map] = pick { 5, m.null, { 1 } } end
    end
    if type(one.n) == "table" and math.random() < 0.5 and #one.n == 0 and one.n ~= m.null then
      one.n.o = { a = value() }
    end
    return one
  end
  local function wishes()
    local step = {}
    local function chance(part, make)
      if math.random() < 0.5 then
        step[part] = {}
        for _ = 1, math.random(2) do make(step[part]) end
      end
    end
    chance("rename", function(t) t[pick(names)] = pick { "a", "b", "c", "d", "z" } end)
    chance("move", function(t) t[pick(paths)] = pick(paths) end)
    chance("drop", function(t) t[#t + 1] = pick(paths) end)
    chance("cast", function(t) t[pick(paths)] = pick { "integer", "float", "string", "boolean" } end)
    chance("default", function(t) t[pick(paths)] = pick { 1, "EUR", false, 2.5 } end)
    return step
  end
  local function write(v)
    if v == m.null then return "null" end
    if type(v) ~= "table" then return ("%q"):format(v) end
    local parts = {}
    for key, inner in pairs(v) do
      parts[#parts + 1] = ("[%s]=%s"):format(write(key), write(inner))
    end
    return "{" .. table.concat(parts, ",") .. "}"
  end

  it("agree on random maps", function()
    local seed = tonumber(os.getenv "MOONLOG_SEED") or os.time()
    math.randomseed(seed)
    local steps, compared, refusals = 0, 0, 0
    while compared < 4000 do
      local source = write(wishes())
      local plain, said = load("return { upcast = 'Payment', latest = 2, [1] = " .. source .. " }")
      if said.errors == 0 then
        steps = steps + 1
        local lua = good((FUNCTION:gsub("STEP", function() return source end)))
        for _ = 1, 20 do
          local one = event(clone(data()))
          local here, why = plain:push(one)
          local there, other = lua:push(one)
          local what = ("seed %d, step %s, data %s"):format(seed, source, write(m.unpack(one.data)))
          if not here or not there then
            refusals = refusals + 1
            assert.equal(here == nil, there == nil,
              what .. ": " .. ((why and why.message) or (other and other.message) or ""))
          else
            assert.equal(there[1][2], m.pack(m.unpack(here[1][2])), what)
          end
          compared = compared + 1
        end
      end
    end
    assert.is_true(steps > 100 and refusals > 100 and refusals < compared * 0.9,
      ("%d steps, %d refusals of %d"):format(steps, refusals, compared))
  end)
end)
