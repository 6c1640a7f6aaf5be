-- core/rules/shape_projection.c: what a projection may declare, and the sentence for what it may
-- not.
local folding = require "spec.support.folding"

local ON = "on = { A = function() end }"

-- The declaration, one thing a line from line 4.
local function refused(body, pattern, line)
  local p, why = folding.try(folding.file(body))
  assert.is_nil(p, body)
  assert.is_truthy(why:find(pattern, 1, true), why)
  if line then assert.equal(line, tonumber(why:match "^p.lua:(%d+): "), why) end
end

local function taken(body) assert(folding.try(folding.file(body))) end

describe("rules/shape_projection", function()
  it("knows its keys, and the nearest of a wrong one", function()
    for wrong, right in pairs { frm = "from", kye = "key", rwo = "row", inti = "init",
      indx = "index",
      windw = "window", lat = "late", merg = "merge", tll = "ttl", strat = "start", falt = "fault",
        sqll = "sql",
      snapshott = "snapshot" } do
      refused(("key = 'id',\n%s,\n%s = 5"):format(ON, wrong),
        ('unknown key "%s" (did you mean "%s"?)'):format(wrong, right), 6)
    end
    taken [[ from = { category = "account", types = { "A", "B" }, tags = { "vip" } },
      key = "data.owner",
      row = { n = 0, list = { 1 } }, on = { A = function() end }, index = { "owner",
        "address.city" },
      window = moonlog.hopping("1h", "5m", { grace = "1m", time = "occurred" }), late = function()
        end, ttl = "90d",
      start = 17, fault = "hold", sql = { table = "t", columns = { n = "integer" } },
      snapshot = { every = 1000000 } ]]
  end)

  it("has handlers", function()
    refused("key = 'id'", "on is missing")
    refused("key = 'id', on = {}", "on is missing")
    refused("key = 'id', on = {\nA = 5 }", '"A" in on must be a function, not a number', 5)
  end)

  it("comes from a category, a stream, or everywhere", function()
    taken("key = 'id', " .. ON)
    taken("key = 'id', from = 'account', " .. ON)
    for from, pattern in pairs {
      ["5"] = "from must be a category, or a table",
      ["''"] = "from must be a name",
      ["{ category = 'a', stream = 'a-1' }"] = "stream and category are both there",
      ["{ categry = 'a' }"] = 'unknown key "categry" (did you mean "category"?)',
      ["{ category = 5 }"] = "category must be a string",
      ["{ stream = ('x'):rep(513) }"] = "stream must be a name of up to 512 bytes",
      ["{ types = 'A' }"] = "types must be a list of names",
      ["{ types = {} }"] = "types must be a list of names",
      ["{ types = { 'A', 5 } }"] = "types[2] must be a name",
      ["{ types = { 'A', 'A' } }"] = 'types has "A" twice',
      ["{ types = { A = 1 } }"] = "types must be a list of names",
      ["{ tags = { '' } }"] = "tags[1] must be a name",
      ["{ tags = { ('x'):rep(257) } }"] = "tags[1] must be a name",
    } do
      refused(("key = 'id',\n%s,\nfrom = %s"):format(ON, from), pattern)
    end
    refused("key = 'id',\n" .. ON .. ",\nfrom = 5", "from must be", 6)
  end)

  it("has a key, or one row", function()
    for _, key in ipairs { "'stream'", "'id'", "'type'", "'category'", "'data.a.b.c.d.e.f.g.h'",
      "'meta.actor'",
      "function() return 1 end" } do
      taken(("key = %s, %s"):format(key, ON))
    end
    refused(ON, "key is missing")
    for key, pattern in pairs {
      ["'streem'"] = 'key "streem" is none (did you mean "stream"?)',
      ["'owner'"] = "there are stream, id, type, category, data.FIELD and meta.FIELD, or a "
        .. "function(data, event)",
      ["'data.'"] = "is no path",
      ["'data..x'"] = "is no path",
      ["'data.x.'"] = "is no path",
      ["'data.a.b.c.d.e.f.g.h.i'"] = "is no path: names with a dot between them, at most 8",
      ["'meta.' .. ('x'):rep(201)"] = "is no path",
      ["5"] = 'key must be a path like "stream" or "data.owner", or a function, not a number',
    } do
      refused(("%s,\nkey = %s"):format(ON, key), pattern, not key:find "rep" and 5 or nil)
    end
    taken("init = function() return { n = 0 } end, " .. ON)
    refused("key = 'id', init = function() return {} end, " .. ON,
      "init is for a fold of one row, without key")
    refused("row = {}, init = function() return {} end, " .. ON, "row and init are both there")
    refused("init = {}, " .. ON, "init must be a function that returns a row, not a table")
    refused("init = function() end, " .. ON, "init must return a table, not a nil")
    refused("init = function() return { 1 } end, " .. ON, "init is a list; a row has names")
    refused("init = function()\nerror 'no' end, " .. ON, "no", 5)
  end)

  it("has rows that can be kept", function()
    refused("key = 'id', row = 5, " .. ON, "row must be a table, not a number")
    refused("key = 'id', row = { 1 }, " .. ON, "row is a list; a row has names")
    refused("key = 'id', row = { f = pairs }, " .. ON, "row.f is a function")
  end)

  it("has indexes that are paths", function()
    taken("key = 'id', index = { 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h.i' }, " .. ON)
    refused("key = 'id', index = { 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i' }, " .. ON,
      "index has over 8 of them")
    refused("key = 'id', index = 'owner', " .. ON, "index must be a list of paths")
    refused("key = 'id', index = { 'a.' }, " .. ON, 'index[1] must be a path of a field, like '
      .. '"address.city"')
    refused("key = 'id', index = { 'a', 'b', 'a' }, " .. ON, 'index has "a" twice')
    refused("key = 'id', index = { a = 1 }, " .. ON, "index must be a list of paths")
  end)

  it("has a window that a word gave, and functions that go with it", function()
    refused("key = 'id', window = '1h', " .. ON, "window must be what moonlog.tumbling, "
      .. "moonlog.hopping or "
      .. "moonlog.session gives, not a string")
    refused("key = 'id', window = moonlog.delete, " .. ON, "window must be what")
    refused("key = 'id', late = function() end, " .. ON, "late is for events that come after "
      .. "their window")
    refused("key = 'id', window = moonlog.tumbling '1h', late = 5, " .. ON,
      "late must be a function, not a number")
    refused("key = 'id', window = moonlog.session('1h', { time = 'occurred' }), " .. ON,
      "there must be merge = function(row, other)")
    refused("key = 'id', window = moonlog.session('1h'), merge = function() end, " .. ON,
      "merge is for sessions")
    refused("key = 'id', merge = function() end, " .. ON, "merge is for sessions by occurred")
    taken("key = 'id', window = moonlog.session('1h', { time = 'occurred' }), merge = "
      .. "function() end, " .. ON)
  end)

  it("has a ttl, a start, a way with faults, and kept copies", function()
    refused("key = 'id', ttl = 90, " .. ON, "ttl must be a string")
    refused("key = 'id', ttl = '90 days', " .. ON, 'ttl must be a span of time like "90d"')
    refused("key = 'id', start = 'begining', " .. ON, 'start "begining" (did you mean '
      .. '"beginning"?)')
    refused("key = 'id', start = 0, " .. ON, "start must be from 1")
    refused("key = 'id', start = 1.5, " .. ON, "start must be an integer")
    refused("key = 'id', start = {}, " .. ON, "start must be a string")
    refused("key = 'id', fault = 'holt', " .. ON, 'fault "holt" (did you mean "hold"?)')
    refused("key = 'id', snapshot = 5, " .. ON, "snapshot must be a table {every = 1000000}")
    refused("key = 'id', snapshot = { every = 999 }, " .. ON, "every must be from 1000")
    refused("key = 'id', snapshot = {}, " .. ON, "every is missing")
  end)

  it("has columns of SQL", function()
    refused("key = 'id', sql = 5, " .. ON, "sql must be a table")
    refused("key = 'id', sql = {}, " .. ON, "columns is missing")
    for sql, pattern in pairs {
      ["table = 'a b'"] = "table must be a name of letters, digits and '_'",
      ["table = '1a'"] = "table must be a name",
      ["table = 'moonlog'"] = "table must be a name",
      ["table = 'SQLITE_x'"] = "table must be a name",
      ["tabel = 'x'"] = 'unknown key "tabel" (did you mean "table"?)',
      ["columns = 5"] = "columns is missing",
      ["columns = { a = 'txt' }"] = '"txt" (did you mean "text"?)',
      ["columns = { a = 5 }"] = 'column "a" must be a type',
      ["columns = { a = { path = 'b' } }"] = 'column "a" must be a type',
      ["columns = { a = { type = 'text', pth = 'b' } }"] = 'unknown key "pth"',
      ["columns = { a = { type = 'text', path = 'b.' } }"] = 'column "a" must be a type',
      ["columns = { ['a b'] = 'text' }"] = "columns are named with letters",
      ["columns = { 'text' }"] = "columns are named with letters",
      ["columns = { key = 'text' }"] = 'column "key" is there anyway',
      ["columns = { Window_Start = 'text' }"] = 'column "window_start" is there anyway',
      ["columns = { a = 'text', A = 'text' }"] = "is there twice",
      ["columns = { Ab = 'text', aC = 'text', ab = 'text' }"] = "is there twice",
    } do
      refused(("key = 'id', sql = { columns = { x = 'text' }, %s }, %s"):format(sql, ON), pattern)
    end
    local many = {}
    for n = 1, 65 do many[n] = "c" .. n .. " = 'text'" end
    refused(("key = 'id', sql = { columns = { %s } }, %s"):format(table.concat(many, ", "), ON),
      "over 64")
    taken(("key = 'id', sql = { columns = { %s } }, %s"):format(table.concat(many, ", ", 1, 64),
      ON))
  end)

  it("has a name", function()
    local source = "return { projection = 'a b', key = 'id', on = { A = function() end } }"
    local p, why = folding.try(source)
    assert.is_nil(p)
    assert.match("projection must be a name", why)
  end)

  it("is linted as aggregates are, key function and all", function()
    for body, pattern in pairs {
      ["key = 'id', on = { A = function(row) count = 1 end }"] = "undeclared global 'count'",
      ["key = function() seen = 1 end, on = { A = function() end }"] = "undeclared global 'seen'",
      ["key = 'id', on = { A = function() total = total + 1 end }"] = "the variable 'total' is "
        .. "changed by a handler, "
        .. "outlives the call and is no part of the row",
      ["key = function() total = total + 1 return 1 end, on = { A = function() end "
        .. "}"] = "'total' is changed",
      ["key = 'id', window = moonlog.tumbling '1h', late = function() total = 1 end, on = { A = "
        .. "function() end }"] =
        "'total' is changed",
    } do
      local rules = require "spec.support.rules"
      local r = rules.new()
      local _, found = r:stage(folding.file(body, body:find "total" and "local total = 0" or ""))
      r:close()
      assert.equal("error", found.severity)
      assert.is_truthy(found.message:find(pattern, 1, true), found.message)
      assert.is_true(found.line == 4)
    end
  end)
end)
