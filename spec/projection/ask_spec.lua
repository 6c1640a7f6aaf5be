-- core/projection/projector.h: get and scan, page by page.
local m = require "moonlog"
local projections = require "spec.support.projections"

local source = projections.source

describe("projection/projector: get and scan", function()
  local p, projector, all
  setup(function()
    p = projections.new()
    p:fill(3000, 120, projections.dice(21))
    projector = p:open(source())
    projector:run()
    all = p.rows(projector, { limit = 1000 })
  end)
  teardown(function()
    projector:close()
    p:close()
  end)

  local function keys(rows)
    local list = {}
    for _, row in ipairs(rows) do list[#list + 1] = row.key end
    return list
  end

  local function chosen(want)
    local list = {}
    for _, row in ipairs(all) do if want(row) then list[#list + 1] = row.key end end
    return list
  end

  local function backward(list)
    local back = {}
    for n = #list, 1, -1 do back[#back + 1] = list[n] end
    return back
  end

  it("gives all rows in the order of their keys, whatever the pages", function()
    assert.is_true(#all > 100)
    local sorted = keys(all)
    table.sort(sorted)
    assert.same(sorted, keys(all))
    for _, limit in ipairs { 1, 2, 7, 50 } do
      assert.same(all, p.rows(projector, { limit = limit }))
      assert.same(backward(keys(all)), keys(p.rows(projector, { limit = limit, backward = true })))
    end
  end)

  it("gives those that begin alike, and those between two keys", function()
    local ones = chosen(function(row) return row.key:sub(1, 9) == "account-1" end)
    assert.same(ones, keys(p.rows(projector, { prefix = "account-1" })))
    assert.same(backward(ones), keys(p.rows(projector, { prefix = "account-1", backward = true })))
    local between = chosen(function(row)
      return row.key >= "account-03" and row.key <= "account-050"
    end)
    assert.same(between, keys(p.rows(projector, { from = "account-03", to = "account-050" })))
    assert.same(backward(between),
      keys(p.rows(projector, { from = "account-050", to = "account-03", backward = true })))
  end)

  it("goes by an index, where many rows have one value", function()
    for _, limit in ipairs { 1, 3, 100 } do
      local rows = p.rows(projector, { index = "owner", limit = limit })
      assert.equal(#chosen(function(row) return row.row.owner end), #rows)
      for n = 2, #rows do
        local a, b = rows[n - 1], rows[n]
        assert.is_true(a.row.owner < b.row.owner or (a.row.owner == b.row.owner and a.key < b.key))
      end
      assert.same(backward(keys(rows)),
        keys(p.rows(projector, { index = "owner", limit = limit, backward = true })))
    end
    local threes = chosen(function(row) return row.row.owner == "o3" end)
    assert.is_true(#threes > 5)
    local asked = { index = "owner", from = "o3", to = "o3", limit = 2 }
    assert.same(threes, keys(p.rows(projector, asked)))
    local rich = chosen(function(row)
      return row.row.balance >= 5000 and row.row.balance <= 9000.5
    end)
    local found = keys(p.rows(projector, { index = "balance", from = 5000, to = 9000.5 }))
    table.sort(found)
    assert.same(rich, found)
  end)

  it("names the position that it speaks of", function()
    local head = p.store:head().position
    assert.equal(head, projector:scan({}).position)
    assert.equal(head, projector:get({ key = all[1].key }).position)
    assert.same(all[1].row, projector:get({ key = all[1].key }).row)
  end)

  it("says what is wrong with a question", function()
    local function refused(sentence, method, request)
      local none, why = projector[method](projector, request)
      assert.is_nil(none)
      assert.matches(sentence, why, 1, true)
    end
    refused("BAD_REQUEST: projection/balances has no index \"color\"; it has owner, balance",
      "scan", { index = "color" })
    refused("BAD_REQUEST: limit is a number of rows from 1 to 1000", "scan", { limit = 1001 })
    refused("BAD_REQUEST: limit is a number of rows", "scan", { limit = 0 })
    refused("BAD_REQUEST: prefix is the beginning of keys that are text", "scan", { prefix = 1 })
    refused("BAD_REQUEST: prefix is one of keys; with an index give from and to", "scan",
      { prefix = "a", index = "owner" })
    refused("BAD_REQUEST: from and to of an index are values", "scan",
      { index = "owner", from = m.array {} })
    refused("BAD_REQUEST: backward is true or false", "scan", { backward = 1 })
    refused("BAD_REQUEST: whose row of projection/balances? give a key", "get", {})
    refused("BAD_REQUEST: a float cannot be a key", "get", { key = 1.5 })
    refused("BAD_REQUEST: projection/balances has no windows", "get", { key = "a", window = 1 })
  end)

  it("ends a page at 4 MiB", function()
    local big = projections.new()
    for n = 1, 12 do
      big:append("account-" .. string.char(96 + n), "Deposited", { text = ("x"):rep(900000) })
    end
    local files = source({ index = false },
      { Deposited = "function(r, d) r.text = d.text end", Opened = false })
    do
      local own <close> = big:open(files)
      own:run()
      local page = own:scan { limit = 1000 }
      assert.same({ 5, "account-f" }, { #page.rows, page.next })
      assert.equal(12, #big.rows(own, { limit = 1000 }))
    end
    big:close()
  end)

  it("has one row where there are no keys", function()
    local fold <close> = p:open(source({ key = false, row = false, index = false,
      init = "function() return { n = 0, balance = 0 } end" }, { Closed = false }))
    fold:run()
    assert.equal(1, fold:status().rows)
    assert.is_true(fold:get({}).row.n > 1000)
  end)

  describe("windows", function()
    local hour = 3600 * 1000000
    local w, windowed

    setup(function()
      w = projections.new()
      local writes = {}
      for n = 0, 9 do
        writes[#writes + 1] = { stream = "account-a", events = {
          { type = "Deposited", data = { amount = n }, occurred = 1000 * hour + n * hour // 2 } } }
        writes[#writes + 1] = { stream = "account-b", events = {
          { type = "Deposited", data = { amount = 1 }, occurred = 1000 * hour + n * hour // 2 } } }
      end
      assert(w.store:append(writes))
      windowed = w:open(source { window = "moonlog.tumbling('1h', { time = 'occurred' })" })
      windowed:run()
    end)
    teardown(function()
      windowed:close()
      w:close()
    end)

    it("gets the latest of a key, or the one that is asked for", function()
      local got = windowed:get { key = "account-a" }
      assert.same({ from = 1004 * hour, to = 1005 * hour, closed = false }, got.window)
      assert.equal(17, got.row.balance)
      got = windowed:get { key = "account-a", window = 1001 * hour }
      assert.same({ from = 1001 * hour, to = 1002 * hour, closed = true }, got.window)
      assert.equal(5, got.row.balance)
      got = windowed:get { key = "account-a", window = "1970-02-11T17:00:00Z" }
      assert.equal(5, got.row.balance)
      assert.is_nil(windowed:get({ key = "account-a", window = 900 * hour }).row)
    end)

    it("scans them in order, and goes on in the middle of a key", function()
      for _, limit in ipairs { 1, 3, 100 } do
        local rows = w.rows(windowed, { limit = limit })
        assert.equal(10, #rows)
        for n, row in ipairs(rows) do
          assert.equal(n <= 5 and "account-a" or "account-b", row.key)
          assert.equal((1000 + (n - 1) % 5) * hour, row.window.from)
        end
        assert.equal(10, #w.rows(windowed, { limit = limit, backward = true }))
        assert.equal(10, #w.rows(windowed, { limit = limit, index = "balance" }))
      end
      assert.equal(5, #w.rows(windowed, { from = "account-b" }))
      assert.equal(5, #w.rows(windowed, { to = "account-a" }))
    end)

    it("tells when the next one closes", function()
      local status = windowed:status()
      assert.is_true(status.closes > 0)
    end)
  end)
end)
