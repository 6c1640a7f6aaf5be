-- moonlog rpc: any method, JSON in and out; and the protocol's document.
local daemon = require "spec.support.daemon"
local json = require "spec.support.json"
local packs = require "spec.support.packs"
local peer = require "spec.support.peer"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

describe("cli: rpc", function()
  local on, server
  setup(function()
    local dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    server = daemon.start(dir)
  end)
  teardown(function() assert.equal(0, (server:stop())) end)

  it("calls a method with one map, from the line or stdin", function()
    local params = '{"stream":"a","events":[{"type":"T","data":{"x":1.0}}]}'
    local out, err, status = on { "rpc", "append", params }
    assert.equal(0, status, err)
    assert.same({ first = 1, last = 1, revisions = { a = 0 }, durability = "disk" }, json.read(out))
    out = on({ "rpc", "read", "-" }, '{"stream":"a"}')
    local page = json.read(out)
    assert.equal("a", page.events[1].stream)
    assert.equal("float", math.type(page.events[1].data.x))
    assert.is_true(page["end"])
    assert.equal('{"position":1}\n', (on { "rpc", "head" }))
    assert.equal('{position=1}\n', (on { "rpc", "head", "-o", "lua" }))
  end)

  it("runs the example of every method in the table", function()
    local text, refused = program.slurp "core/PROTOCOL.md", {}
    local one <close> = peer.connect(server.uri)
    assert(one:call("rules.load", { files = { ["account.lua"] = packs.ACCOUNT } }))
    for _, method in ipairs(json.read((on { "rpc", "api" })).methods) do
      if method.name == "projection.get" then
        assert(one:call("rules.load", { files = { ["balances.lua"] = packs.BALANCES } }))
      end
      local _, err, status = on { "rpc", method.name, method.example }
      -- Nothing has stopped; there is a version before, or not yet.
      local absent = method.name == "projection.skip" or method.name == "projection.rollback"
      if absent and status == 3 then status = 0 end
      local stays = err:match "^moonlog: BAD_REQUEST: use `moonlog (%l+)`: .* with the connection"
      assert.equal(stays and 2 or 0, status, method.name .. ": " .. err)
      local tried = text:find("`moonlog rpc " .. method.name .. " ", 1, true)
      assert.equal(stays == nil, tried ~= nil, method.name)
      refused[#refused + 1] = stays and method.name .. " " .. stays
    end
    assert.same({ "subscribe tail", "credit tail", "unsubscribe tail", "listen listen",
      "unlisten listen" }, refused)
  end)

  it("makes no table, and says so", function()
    local out, err, status = on { "rpc", "head", "-o", "table" }
    assert.equal(2, status)
    assert.equal("", out)
    assert.truthy(err:find("use -o json or -o lua", 1, true), err)
  end)

  it("says what the daemon says", function()
    local _, err, status = on { "rpc", "haed" }
    assert.equal(1, status)
    assert.truthy(err:match "^moonlog: UNKNOWN_METHOD: .*did you mean head", err)
    _, err, status = on { "rpc", "head", '{"steam":"a"}' }
    assert.equal(1, status)
    assert.truthy(err:match "^moonlog: BAD_REQUEST: .*did you mean stream", err)
    _, err, status = on { "rpc", "head", '{"stream":"nobody"}' }
    assert.equal(3, status, err)
    _, err, status = on { "rpc", "head", "[1" }
    assert.equal(1, status)
    assert.truthy(err:match "^moonlog: BAD_REQUEST: data, ", err)
    _, _, status = on { "rpc" }
    assert.equal(2, status)
  end)

  it("prints the document that is core/PROTOCOL.md", function()
    local out, _, status = program.run { "rpc", "--document" }
    assert.equal(0, status)
    assert.equal(program.slurp "core/PROTOCOL.md", out, "`make docs` writes it")
  end)
end)
