-- The contract in core/index/table.h, against lists in plain Lua.
local index = require("coretest").index

-- Keys that share their low bits, so that they push each other from their slots.
local function key_of(n) return (n % 5) + (n << 40) end

-- That the table holds what the model holds, and counts it right.
local function compare(model, table)
  local keys, postings = {}, 0
  for key, list in pairs(model) do
    assert.same(#list > 0 and list or nil, (table:find(key)))
    if #list > 0 then keys[#keys + 1] = key end
    postings = postings + #list
  end
  local sorted = table:keys()
  assert.equal(#keys, #sorted)
  for i = 2, #sorted do assert.is_true(math.ult(sorted[i - 1], sorted[i])) end
  local used, counted = table:numbers()
  assert.same({ #keys, postings }, { used, counted })
end

-- Adds, retracts and begins again at random for a while.
local function history(seed, steps)
  math.randomseed(seed)
  local table, model, first, position = index.table(1), {}, 1, 1
  for step = 1, steps do
    local dice = math.random(100)
    if dice <= 90 then
      for _ = 1, math.random(3) do
        local key = key_of(math.random(dice <= 45 and 3 or 200))
        local list = model[key] or {}
        model[key] = list
        assert.is_true(table:add(key, position))
        if list[#list] ~= position then list[#list + 1] = position end
      end
      position = position + math.random(3)
    elseif dice <= 99 then
      -- Everything over `last`, as when appends are given up.
      local last = math.max(position - math.random(dice <= 98 and 40 or 2000), first - 1)
      for key, list in pairs(model) do
        table:retract(key, last)
        while #list > 0 and list[#list] > last do list[#list] = nil end
      end
      position = last + 1
    elseif step % 7 == 0 then
      first = position
      table:begin(first)
      model = {}
    end
    if step % 97 == 0 then compare(model, table) end
  end
  compare(model, table)
end

describe("index/table", function()
  it("is empty at first", function()
    local table = index.table(5)
    assert.is_nil(table:find(0))
    assert.same({}, table:keys())
    local used, postings, last = table:numbers()
    assert.same({ 0, 0, 4 }, { used, postings, last })
    table:retract(0, 0)
  end)

  it("keeps a position that comes twice once", function()
    local table = index.table(1)
    for _, position in ipairs { 1, 1, 3, 3, 3, 9 } do assert.is_true(table:add(0, position)) end
    assert.same({ 1, 3, 9 }, table:find(0))
    local used, postings, last = table:numbers()
    assert.same({ 1, 3, 9 }, { used, postings, last })
  end)

  it("keeps lists of every length apart", function()
    local table = index.table(1)
    for length = 1, 300 do
      for n = 1, length do assert.is_true(table:add(key_of(length), n * 2)) end
    end
    for length = 1, 300 do
      local list = table:find(key_of(length))
      assert.same({ length, 2 * length }, { #list, list[#list] })
    end
  end)

  it("takes back what is over a position, to the last one of a key", function()
    for length = 1, 300, 13 do
      local table = index.table(1)
      for n = 1, length do assert.is_true(table:add(1, n)) end
      for left = length - 1, 0, -1 do
        table:retract(1, left)
        local list = table:find(1)
        assert.equal(left, list and #list or 0)
      end
      assert.is_true(table:add(1, 1))
      assert.same({ 1 }, table:find(1))
    end
  end)

  it("gives keys in the order of numbers without a sign", function()
    local table = index.table(1)
    for _, key in ipairs { -1, 0, 1, math.mininteger, math.maxinteger } do table:add(key, 1) end
    assert.same({ 0, 1, math.maxinteger, math.mininteger, -1 }, table:keys())
  end)

  it("is what plain lists are after any history", function()
    local seed = tonumber(os.getenv "MOONLOG_SEED") or os.time()
    for n = 0, 5 do
      local good, why = pcall(history, seed + n, 1500)
      assert(good, ("MOONLOG_SEED=%d: %s"):format(seed + n, tostring(why)))
    end
  end)
end)
