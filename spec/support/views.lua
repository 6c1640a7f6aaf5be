--- Views for specs: keys, rows and a model of what a view holds.
local assert = require "luassert"
local core = require "coretest"
local tmpdir = require "spec.support.tmpdir"
local view = core.view

local views = {}

--- What views are made with, unless a spec says otherwise.
views.about = { identity = "log/hash", indexes = { "owner", "at.city" } }

--- MessagePack of JSON text.
function views.pack(json) return assert(core.base.json_to_msgpack(json)) end

--- The key of a string or an integer, given as JSON text.
function views.key(json) return assert(view.key(views.pack(json))) end

--- A row with fields that are indexed.
function views.row(owner, city, balance)
  return views.pack(('{"balance":%d,"owner":%s,"at":{"city":%s}}'):format(
    balance, owner and ('"%s"'):format(owner) or "null", city and ('"%s"'):format(city) or "[]"))
end

--- A directory that is not there yet.
function views.dir() return tmpdir.new() .. "/view" end

function views.open(dir, about) return assert(view.open(dir, about or views.about)) end

--- The rows of a table key -> row, as scan gives them.
function views.sorted(rows)
  local list = {}
  for key, row in pairs(rows) do list[#list + 1] = { key, row } end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

--- The entries of an index: {what sorts, key}, in order.
function views.indexed(rows, path)
  local entries = {}
  for key, row in pairs(rows) do
    local value = view.field(row, path)
    local sorts = value and view.index(value)
    if sorts then entries[#entries + 1] = { sorts .. key, key } end
  end
  table.sort(entries, function(a, b) return a[1] < b[1] end)
  return entries
end

--- Is the view what the model is: rows, digest, count and each index?
function views.check(at, rows)
  local list = views.sorted(rows)
  assert.same(list, assert(at:scan()))
  assert.equal(#list, at:stats().rows)
  assert.equal(view.digest(list), at:stats().digest)
  for n, path in ipairs(views.about.indexes) do
    local keys, wanted = {}, {}
    for _, one in ipairs(assert(at:scan { index = n })) do
      keys[#keys + 1] = one[1]
      assert.equal(rows[one[1]], one[2])
    end
    for _, entry in ipairs(views.indexed(rows, path)) do wanted[#wanted + 1] = entry[2] end
    assert.same(wanted, keys)
  end
end

--- Does a random thing to a view and to its model; dice(n) gives 1..n.
function views.step(at, rows, dice)
  local key = views.key(('"account-%d"'):format(dice(400)))
  if dice(5) == 1 then
    assert(at:delete(key))
    rows[key] = nil
    return
  end
  local city = dice(4) > 1 and ("city-" .. dice(9)) or nil
  local row = views.row("owner-" .. dice(30), city, dice(100000))
  if dice(60) == 1 then -- takes pages of its own
    row = views.pack(('{"owner":"long","text":"%s"}'):format(("x"):rep(dice(9000))))
  end
  assert(at:put(key, row))
  rows[key] = row
end

--- Dice that fall the same way for the same seed.
function views.dice(seed)
  local state = seed * 2 + 1
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end

function views.read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

function views.write(path, bytes)
  local file = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  file:close()
end

return views
