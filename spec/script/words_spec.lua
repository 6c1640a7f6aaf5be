-- The contract in core/script/words.h, in a sandbox and in plain Lua: the words are the same.
local boxes = require "spec.support.boxes"
local m = require "moonlog"
local script = require("coretest").script
local words = script.words

describe("script/words", function()
  it("are in the Lua module", function()
    for _, name in ipairs { "event", "refuse", "split", "array", "map", "bytes", "tumbling",
      "hopping", "session" } do
      assert.equal("function", type(m[name]), name)
    end
    for _, name in ipairs { "drop", "delete", "null" } do
      assert.equal("userdata", type(m[name]), name)
    end
  end)

  it("are in a sandbox", function()
    assert.equal("array bytes delete drop event hopping map null refuse session split tumbling",
      boxes.eval [[
      local out = {}
      for name in pairs(require "moonlog") do out[#out + 1] = name end
      return table.concat(out, " ")]])
  end)

  it("know what they made", function()
    local made = { event = words.event "Opened", refusal = words.refuse "NO",
      split = words.split { words.event "A", words.event "B" }, drop = words.drop,
      delete = words.delete, window = words.tumbling "1h" }
    for word, value in pairs(made) do assert.equal(word, script.word(value)) end
    for _, other in ipairs { 1, "a", {}, words.null, words.bytes "a", words.array {},
      setmetatable({}, {}), print } do
      assert.equal("none", script.word(other))
    end
  end)

  it("make tables that can be read", function()
    local options = { tags = { "a" }, meta = { x = 1 }, schema = 2 }
    local event = m.event("Opened", { owner = "ann" }, options)
    assert.equal("Opened", event.type)
    assert.same({ owner = "ann" }, event.data)
    assert.same({ "a" }, event.tags)
    assert.same({ x = 1 }, event.meta)
    assert.equal(2, event.schema)
    local bare = m.event "Closed"
    assert.same({ "Closed" }, { bare.type, bare.data, bare.tags, bare.meta, bare.schema })
    local refusal = m.refuse("INSUFFICIENT_FUNDS", { balance = 3 })
    assert.same({ "INSUFFICIENT_FUNDS", 3 }, { refusal.code, refusal.detail.balance })
    assert.equal(2, #m.split { { a = 1 }, { a = 2 } })
  end)

  it("show what they are", function()
    assert.equal("moonlog.drop moonlog.delete moonlog.event moonlog.refusal moonlog.split "
      .. "moonlog.window",
      ("%s %s %s %s %s %s"):format(m.drop, m.delete, m.event "E", m.refuse "R", m.split {},
        m.session "1h"))
  end)

  it("refuse at the caller's line what makes no sense", function()
    local wrong = {
      ["m.tumbling()"] = "string expected, got no value",
      ["m.tumbling(5)"] = "string expected, got number",
      ["m.tumbling '1 hour'"] = 'a span of time like "1h", "1h30m" or "15s" is expected',
      ["m.tumbling('1h', 5)"] = "a table of names is expected, not a number",
      ["m.tumbling('1h', { offest = '1m' })"] = 'did you mean "offset"',
      ["m.tumbling('1h', { offset = 5 })"] = "offset must be a string",
      ["m.tumbling('1h', { grace = 'long' })"] = "grace must be a span of time",
      ["m.tumbling('1h', { time = 'ocurred' })"] = 'did you mean "occurred"',
      ["m.hopping '1h'"] = "string expected, got no value",
      ["m.hopping('1h', '2h')"] = "the hop is longer than the window",
      ["m.hopping('65s', '1s')"] = "an event would be in more than 64 windows",
      ["m.session '0s'"] = "a span of time like",
      ["m.session('1h', { offset = '1m' })"] = 'unknown key "offset"',
      ["m.event()"] = "string expected, got no value",
      ["m.event(1)"] = "string expected, got number",
      ["m.event('')"] = "the type of an event is 1 to 256 bytes of UTF-8",
      ["m.event(('x'):rep(257))"] = "1 to 256 bytes",
      ["m.event('\\xff')"] = "UTF-8",
      ["m.event('E', {}, { tag = {} })"] = 'unknown key "tag" (did you mean "tags"?)',
      ["m.event('E', {}, 1)"] = "a table of names is expected, not a number",
      ["m.event('E', {}, { tags = 'a' })"] = "tags must be a list of strings",
      ["m.event('E', {}, { tags = { a = 1 } })"] = "tags must be a list of strings",
      ["m.event('E', {}, { tags = { 'a', 2 } })"] = "tags[2] must be a string of 1 to 256 bytes",
      ["m.event('E', {}, { tags = { '' } })"] = "tags[1] must be",
      ["m.event('E', {}, { meta = 1 })"] = "meta must be a table, not a number",
      ["m.event('E', {}, { schema = 0 })"] = "schema must be from 1",
      ["m.event('E', {}, { schema = 1.5 })"] = "schema must be an integer",
      ["m.refuse()"] = "string expected",
      ["m.refuse ''"] = "the code of a refusal is 1 to 256 bytes",
      ["m.split()"] = "table expected",
      ["m.split { a = 1 }"] = "a list is expected",
      ["m.split { 1, nil, 3, a = 1 }"] = "a list is expected",
      ["m.split(setmetatable({}, {}))"] = "the table has a metatable of its own",
      ["m.array(setmetatable({}, {}))"] = "the table has a metatable of its own",
      ["m.map(1)"] = "table expected",
      ["m.bytes(1)"] = "string expected",
    }
    for call, why in pairs(wrong) do
      local found = boxes.fault("local m = require 'moonlog'\nreturn " .. call)
      assert.truthy(found.message:find(why, 1, true), call .. ": " .. found.message)
      assert.equal(2, found.line, call)
      local plain = assert(load("local m = require 'moonlog'\nreturn " .. call, "=plain"))
      local done, said = pcall(plain)
      assert.is_false(done, call)
      assert.truthy(said:find(why, 1, true), call .. ": " .. said)
    end
    local many = {}
    for n = 1, 33 do many[n] = "t" .. n end
    assert.has_error(function() m.event("E", {}, { tags = many }) end,
      "moonlog.event: an event has at most 32 tags")
  end)
end)
