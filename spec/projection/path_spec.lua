-- core/projection/path.c: the key that a path says, out of stored bytes.
local m = require "moonlog"
local core = require("coretest").projection

local function path(text, event) return core.path(text, event or {}) end

describe("projection/path", function()
  local event
  before_each(function()
    event = { stream = "account-ada-2", type = "Opened", meta = m.pack { actor = "bob",
      at = { ip = "::1" } },
      data = m.pack { owner = "ada", n = 7, yes = true, address = { city = "Aix", none = m.null },
        list = { "x" }, f = 1.5, bytes = m.bytes "\1\2", text = ("x"):rep(300) } }
  end)

  -- What the path says is what the value itself would be as a key.
  local function says(text, shown)
    assert.equal(shown, core.show(assert(path(text, event))))
  end

  it("finds stream, id, type and category", function()
    says("stream", '"account-ada-2"')
    says("id", '"ada-2"')
    says("type", '"Opened"')
    says("category", '"account"')
  end)

  it("finds fields of data and meta", function()
    says("data.owner", '"ada"')
    says("data.n", "7")
    says("data.yes", "true")
    says("data.address.city", '"Aix"')
    says("meta.actor", '"bob"')
    says("meta.at.ip", '"::1"')
  end)

  it("names the path of what is not there", function()
    for _, text in ipairs { "data.nobody", "data.address.street", "data.n.deeper", "data.list.x",
      "meta.none",
      "data.address.city.x" } do
      local key, why = path(text, event)
      assert.is_nil(key)
      assert.equal(('BAD_REQUEST: the key "%s" is not in this event; use a function(data, '
        .. 'event) that '
        .. "returns {} for events without a row"):format(text), why)
    end
    local key, why = path("data.x", { stream = "a", type = "T" }) -- data is nil
    assert.is_nil(key)
    assert.match("is not in this event", why)
    key, why = path("id", { stream = "account" })
    assert.is_nil(key)
    assert.match("behind the first '%-'", why)
  end)

  it("refuses what is no key, naming the path", function()
    for _, text in ipairs { "data.f", "data.list", "data.address", "data.address.none" } do
      local key, why = path(text, event)
      assert.is_nil(key)
      assert.match("^BAD_REQUEST: the key \"" .. text:gsub("%p", "%%%0") .. '": ', why)
    end
    local key, why = path("data.text", event)
    assert.is_nil(key)
    assert.match("^TOO_LARGE: the key \"data.text\": ", why)
  end)

  it("shows keys so that they can be read", function()
    assert.equal('"a?b"', core.show(path("data.x", { data = m.pack { x = "a\nb" } })))
    local long = core.show(path("data.x", { data = m.pack { x = ("ä"):rep(100) } }))
    assert.match('^"[ä]+%.%.%."$', long)
    assert.is_truthy(utf8.len(long))
    assert.equal("?", core.show "")
    assert.equal("-3", core.show(path("data.x", { data = m.pack { x = -3 } })))
  end)
end)
