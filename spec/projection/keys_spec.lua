-- core/projection/keys.c: a set, in order.
local core = require("coretest").projection

describe("projection/keys", function()
  it("has what was added, once, in the order it was added", function()
    local keys = core.keys()
    for _ = 1, 2 do
      for _, key in ipairs { "b", "a", "", "a\0", "\0a" } do assert.is_true(keys:add(key)) end
    end
    assert.equal(5, keys:count())
    assert.same({ "b", "a", "", "a\0", "\0a" },
      { keys:get(0), keys:get(1), keys:get(2), keys:get(3), keys:get(4) })
    assert.is_true(keys:has "a\0")
    assert.is_false(keys:has "c")
    assert.equal(2, keys:find "")
    assert.equal(5, keys:find "c")
  end)

  it("is the same set as a table is, through thousands and back", function()
    math.randomseed(8)
    local keys, known, order = core.keys(), {}, {}
    for n = 1, 20000 do
      local key = tostring(math.random(1, 8000)):rep(math.random(1, 3))
      if not known[key] then
        order[#order + 1] = key
        known[key] = #order
      end
      keys:add(key)
      if n % 5000 == 0 then
        local left = math.random(0, #order)
        keys:cut(left)
        for m = #order, left + 1, -1 do
          known[order[m]] = nil
          order[m] = nil
        end
      end
      assert.equal(#order, keys:count())
    end
    for n, key in ipairs(order) do
      assert.equal(n - 1, keys:find(key))
      assert.equal(key, keys:get(n - 1))
    end
    for n = 1, 9000 do assert.equal(known["x" .. n] ~= nil, keys:has("x" .. n)) end
  end)

  it("is emptied by a cut, and cut by nothing more than it has", function()
    local keys = core.keys()
    keys:add "a"
    keys:cut(2)
    assert.equal(1, keys:count())
    keys:cut(0)
    assert.is_false(keys:has "a")
    assert.equal(0, keys:count())
    keys:add "b"
    assert.equal("b", keys:get(0))
  end)
end)
