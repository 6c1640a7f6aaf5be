-- Fields are found by their path, and nothing is read that is not there.
local core = require "coretest"
local views = require "spec.support.views"
local view, pack = core.view, views.pack

describe("view: fields", function()
  it("are found at any depth", function()
    local map = pack '{"a":1,"b":{"c":"x","d":{"e":[1,2]}},"":5,"f.g":6,"n":null}'
    assert.equal(pack "1", view.field(map, "a"))
    assert.equal(pack '"x"', view.field(map, "b.c"))
    assert.equal(pack "[1,2]", view.field(map, "b.d.e"))
    assert.equal(pack '{"e":[1,2]}', view.field(map, "b.d"))
    assert.equal("\xc0", view.field(map, "n"))
    for _, path in ipairs { "x", "a.b", "b.x", "b.c.d", "b.d.e.f", "f.g", "n.m", "A", "aa" } do
      assert.is_nil(view.field(map, path))
    end
    assert.is_nil(view.field(pack "[1]", "a"))
    assert.is_nil(view.field("", "a"))
    -- keys that are no strings are passed over
    assert.equal("\x07", view.field("\x84\x01\x02\xc0\x81\xa1a\x05\x91\x01\x90\xa1a\x07", "a"))
  end)

  it("have paths with names in them", function()
    for _, path in ipairs { "a", "a.b", "a.b.c.d.e.f.g.h", ("x"):rep(200), "a b.ü" } do
      assert.is_true(view.is_path(path))
    end
    for _, path in ipairs { "", ".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i", ("x"):rep(201) } do
      assert.is_false(view.is_path(path))
    end
  end)

  it("of hostile bytes are none, or lie in them", function()
    local dice = views.dice(21)
    local good = pack '{"a":{"b":{"c":"deep"},"x":[1,{"b":2}]},"b":{"a":"text"}}'
    for size = 0, #good - 1 do
      assert.is_nil(view.field(good:sub(1, size), "b.a"))
    end
    local found = 0
    for _ = 1, 30000 do
      local at, bytes = dice(#good), good
      bytes = bytes:sub(1, at - 1) .. string.char(dice(256) - 1) .. bytes:sub(at + 1)
      for _, path in ipairs { "a.b.c", "b.a", "a.x" } do
        local value = view.field(bytes, path)
        if value then
          found = found + 1
          assert.is_truthy(bytes:find(value, 1, true))
        end
      end
    end
    assert.is_true(found > 1000)
    assert.is_nil(view.field("\xdf\xff\xff\xff\xff\xa1a", "a"))
    assert.is_nil(view.field("\x81\xa1a\xdb\xff\xff\xff\xff", "a"))
  end)
end)
