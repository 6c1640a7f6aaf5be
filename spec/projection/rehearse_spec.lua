-- core/projection/rehearse.c: a projection meets the last events of the log before it is staged.
local folding = require "spec.support.folding"
local rules = require "spec.support.rules"

local file = folding.file

describe("projection/rehearse", function()
  local r
  before_each(function() r = rules.new { fold_ms = 20 } end)
  after_each(function() r:close() end)

  local function fill(rounds, more)
    for n = 1, rounds do
      r:append("thing-" .. n % 3, { { "Happened", { amount = n, id = "x" .. n % 7 } } })
    end
    if more then r:append("thing-1", more) end
  end

  local function handler(body, before)
    return file(("key = 'data.id', row = { n = 0 }, on = { Happened = function(row, d, e) %s "
      .. "end }"):format(body), before)
  end

  it("lets pass what is right, windows and lists of keys too", function()
    fill(50)
    for _, source in ipairs { handler "row.n = row.n + d.amount",
      file [[ key = function(d) return { d.id, d.amount } end, window = moonlog.hopping("1s",
        "250ms"),
        ttl = "1h", on = { Happened = function(row) row.n = (row.n or 0) + 1 end } ]],
      file [[ key = "stream", window = moonlog.session "1h", on = { Happened = function(row)
        row.n = (row.n or 0) + 1 if row.n > 5 then return moonlog.delete end end } ]],
      file [[ init = function() return { n = 0 } end, fault = "hold", on = { Happened =
        function(row, d)
        row.n = row.n + d.amount end } ]] } do
      local report = r:stage(source)
      assert.same({}, report.diagnostics)
      assert.is_true(report.ok)
    end
  end)

  it("says nothing about a log that has no such event", function()
    assert.same({}, r:stage(handler "error 'never'").diagnostics)
    r:append("thing-1", { { "Other", {} } })
    assert.same({}, r:stage(handler "error 'never'").diagnostics)
  end)

  it("warns once of a handler that raises, with the event and the line", function()
    fill(20, { { "Happened", { id = "y" } }, { "Happened", { id = "y" } } })
    local report, found = r:stage(handler "\nrow.n = row.n + d.amount")
    assert.is_true(report.ok)
    assert.equal(1, #report.diagnostics)
    assert.same({ "RAISED", "warning", "unit.lua", 5 }, { found.code, found.severity, found.file,
      found.line })
    assert.match("field 'amount'%) %(at position 21, Happened in thing%-1%)$", found.message)
    assert.equal("row.n = row.n + d.amount end } }", found.source)
  end)

  it("warns of a key that is not there, or is none", function()
    fill(3, { { "Happened", {} } })
    local _, found = r:stage(handler "row.n = 1")
    assert.same({ "KEY", "warning" }, { found.code, found.severity })
    assert.match('the key "data.id" is not in this event', found.message)
  end)

  it("refuses rows that cannot be kept, and handlers that overstay", function()
    fill(3)
    for body, code in pairs { ["row.e = e"] = "SHAPE", ["return 5"] = "SHAPE",
      ["row[1] = 1"] = "SHAPE",
      ["row.t = ('x'):rep(2^20)"] = "SHAPE", ["while row.n do end"] = "OVERSTAY",
      ["local t = {} for n = 1, 1e9 do t[n] = { n } end"] = "MEMORY" } do
      local report, found = r:stage(handler(body))
      assert.is_false(report.ok, body)
      if found.code ~= "OVERSTAY" or code ~= "MEMORY" then -- whichever comes first
        assert.same({ code, "error" }, { found.code, found.severity })
      end
    end
  end)

  it("looks at the last thousand of its events", function()
    fill(5, { { "Happened", { id = "y" } } }) -- without amount
    for _ = 1, 5 do
      local events = {}
      for n = 1, 200 do events[n] = { "Happened", { id = "z", amount = n } } end
      r:append("thing-2", events)
    end
    assert.same({}, r:stage(handler "row.n = row.n + d.amount").diagnostics)
    r:append("thing-2", { { "Happened", { id = "z" } } })
    local _, found = r:stage(handler "row.n = row.n + d.amount")
    assert.match("at position 1007", found.message)
    _, found = r:stage(file [[ from = { stream = "thing-1" }, key = "data.id", row = { n = 0 },
      on = { Happened = function(row, d) row.n = row.n + d.amount end } ]])
    assert.match("at position 6,", found.message) -- of that stream it is among them
  end)

  it("catches what depends on what came before, or on the sandbox", function()
    fill(30)
    for body, before in pairs {
      ["seen[#seen + 1] = d.id row.n = #seen"] = "local seen = {}",
      ["cache.first = cache.first or d.amount row.n = cache.first"] = "local cache = {}",
      ["if not cache.x then cache.x = 1 return moonlog.delete end row.n = d.amount"] = "local "
        .. "cache = {}",
    } do
      local report, found = r:stage(handler(body, before), "TWIN")
      assert.is_false(report.ok)
      assert.same({ "TWIN", "error", "unit.lua" }, { found.code, found.severity, found.file })
      assert.match("^folded twice, the same events give", found.message)
    end
    local report, found = r:stage(file([[ key = function(d) last.id, last.was = d.id, last.id
      return last.was or d.id end,
      on = { Happened = function(row) row.n = 1 end } ]], "local last = {}"), "TWIN")
    assert.is_false(report.ok)
    assert.equal("TWIN", found.code)
  end)

  it("is done through upcasters, and once for each version", function()
    fill(5)
    local files = { ["p.lua"] = file [[ key = "data.id", on = { Happened = function(row,
      d) row.n = d.sum end } ]],
      ["h.lua"] = "return { upcast = 'Happened', latest = 2, [1] = { rename = { amount = 'sum' "
        .. "} } }" }
    r:load(files)
    r:append("thing-1", { { "Happened", { amount = 1 } } })
    assert.same({}, r:stage(files).diagnostics)
  end)
end)
