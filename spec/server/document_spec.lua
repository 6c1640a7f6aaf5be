-- core/PROTOCOL.md, which is printed from the tables in core/server/dispatch.c, says what the
-- daemon does: each push has the shape that stands there, each example works.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"
local program = require "spec.support.program"

describe("server/document", function()
  local served, one, api

  before_each(function()
    served = daemon.start()
    one = peer.connect(served.uri)
    api = assert(one:call "api")
  end)
  after_each(function()
    one:close()
    assert.equal(0, (served:stop()))
  end)

  --- The names in "subscription, data, reply?", those with a `?` apart.
  local function names_of(params)
    local always, perhaps = {}, {}
    for name, may in params:gmatch "([%w_]+)(%??)" do
      (may == "" and always or perhaps)[name] = true
    end
    return always, perhaps
  end

  local function keys_of(map)
    local keys = {}
    for key in pairs(map) do keys[key] = true end
    return keys
  end

  it("has every method, push and error of the api", function()
    local text = program.slurp "core/PROTOCOL.md"
    local function has(line, ...)
      line = line:format(...)
      assert.is_truthy(text:find(line, 1, true), line)
    end
    assert.is_true(#api.methods >= 13)
    assert.equal(7, #api.pushes)
    for _, method in ipairs(api.methods) do
      has("\n### `%s`\n\n%s\n", method.name, method.doc)
      has("* result: %s\n", method.result)
    end
    for _, push in ipairs(api.pushes) do
      has("\n### `%s`\n\n%s\n\n* params: %s\n* such as `%s`\n", push.name, push.doc, push.params,
        push.example)
    end
    for _, code in ipairs(api.errors) do has("| %d | `%s` |", code.number, code.code) end
  end)

  it("shows each push with an example of its shape", function()
    for _, push in ipairs(api.pushes) do
      local example = json.read(push.example)
      assert.same({ 2, push.name, 3, 1 }, { example[1], example[2], #example, #example[3] })
      assert.same(names_of(push.params), keys_of(example[3][1]))
    end
  end)

  --- Makes the daemon push whatever it can; gives a message of each kind.
  local function provoke()
    local seen = {}
    local function take(by)
      local name, map = by:push()
      seen[name] = seen[name] or map
    end
    local other = packs.BALANCES:gsub("row.n %+", "1 + row.n +")
    local asking <close> = peer.connect(served.uri)
    asking:fill("account-ada", 1, { type = "Deposited", data = { amount = 1 } })
    asking:call("rules.load", { files = { ["balances.lua"] = packs.BALANCES } })
    asking:ask("whatif", { files = { ["balances.lua"] = other } })
    repeat take(asking) until seen["whatif.progress"]
    one:fill("a", 1)
    one:fill("a", 1, { data = "damage me" })
    one:call("subscribe", { stream = "none", after = "end" })
    one:fill("b", 1)
    repeat take(one) until seen.checkpoint
    one:call("subscribe", { stream = "b", after = "start" })
    repeat take(one) until seen.event and seen.caught_up
    program.damage(served.dir .. "/log/00000000000000000001.seg", "damage me")
    one:call("subscribe", { after = 1 })
    repeat take(one) until seen.failed
    local slow <close> = peer.connect(served.uri)
    slow:call("listen", { subject = "much", buffer = 1 })
    for _ = 1, 10 do one:call("signal", { subject = "much", data = ("x"):rep(400000) }) end
    repeat take(slow) until seen.signal and seen.gap
    return seen
  end

  it("knows all that is pushed, and how", function()
    local known = {}
    for _, push in ipairs(api.pushes) do known[push.name] = push end
    local seen = provoke()
    assert.same(keys_of(known), keys_of(seen))
    for name, map in pairs(seen) do
      local example = json.read(known[name].example)[3][1]
      assert.same(names_of(known[name].params), keys_of(map))
      for key, value in pairs(map) do
        if key ~= "data" then assert.equal(math.type(example[key]) or type(example[key]),
          math.type(value) or type(value), name .. "." .. key) end
      end
    end
    assert.same(keys_of(json.read(known.event.example)[3][1].events[1]),
      keys_of(seen.event.events[1]))
  end)

  it("has an example of each method, which works", function()
    assert(one:call("rules.load", { files = { ["account.lua"] = packs.ACCOUNT } }))
    for _, method in ipairs(api.methods) do
      local params = json.read(method.example)
      local always, perhaps = names_of(method.params:gsub("[|:].*", ""))
      for name in pairs(params) do
        assert.is_true(always[name] or perhaps[name] or method.params:find(name, 1, true) ~= nil)
      end
      if method.name == "projection.get" then
        assert(one:call("rules.load", { files = { ["balances.lua"] = packs.BALANCES } }))
      end
      local result, why = one:call(method.name, params)
      -- Their number is one that this connection was given, or not; nothing has stopped, or was
      -- there before.
      if method.name:match "^un" or method.name == "credit" or
        method.name == "projection.skip" or method.name == "projection.rollback" then
        result = result or why[2]:match "^NOT_FOUND: "
      end
      assert.is_truthy(result, method.name .. ": " .. (why and why[2] or ""))
    end
    assert.equal(moonlog.null, one:call("streams", {}).next)
  end)
end)
