-- core/server/dispatch.c and params.c over the wire: what is a message, who may call, what is
-- refused before a method sees it.
local moonlog = require "moonlog"
local daemon = require "spec.support.daemon"
local peer = require "spec.support.peer"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local TOKEN = "0123456789abcdef0123"

describe("server/dispatch", function()
  local served, one

  setup(function() served = daemon.start() end)
  teardown(function() assert.equal(0, (served:stop())) end)
  before_each(function() one = peer.connect(served.uri) end)
  after_each(function() one:close() end)

  --- The daemon's answer to one message.
  local function answer_to(message)
    one:send(message)
    return assert(one:receive())
  end

  it("gives an answer the msgid of its request, whatever becomes of it", function()
    for _, id in ipairs { 0, 1, 127, 128, 65536, 0xffffffff } do
      assert.same({ 1, id, moonlog.null, { position = 0 } }, answer_to { 0, id, "head", { {} } })
      local message = answer_to { 0, id, "head", { { stream = "none" } } }
      assert.same({ 1, id, moonlog.null }, { message[1], message[2], message[4] })
      assert.equal(5, message[3][1])
      assert.match("^NOT_FOUND: ", message[3][2])
      message = answer_to { 0, id, "haed", { {} } }
      assert.same({ id, 2 }, { message[2], message[3][1] })
      assert.match("^UNKNOWN_METHOD: there is no method haed; did you mean head?", message[3][2])
    end
  end)

  it("has params as an array of one map, or empty", function()
    for _, params in ipairs { { {} }, moonlog.array {} } do
      assert.equal(moonlog.null, answer_to({ 0, 1, "head", params })[3])
    end
    for _, params in ipairs { { {}, {} }, 7, "x", moonlog.null, { a = 1 } } do
      assert.match("^BAD_REQUEST: params is no array", answer_to({ 0, 1, "head", params })[3][2])
    end
    assert.match("^BAD_REQUEST: head takes one map", answer_to({ 0, 1, "head", { 7 } })[3][2])
    assert.match("^BAD_REQUEST: the method's name", answer_to({ 0, 1, 7, {} })[3][2])
  end)

  it("refuses a parameter that is unknown, or given twice; nil is not given", function()
    assert.equal("BAD_REQUEST: head has no parameter steam; did you mean stream?",
      one:refused("head", { steam = "a" }))
    assert.match("^BAD_REQUEST: head has no parameter x; ask `api`", one:refused("head", { x = 1 }))
    assert.match("^BAD_REQUEST: head has no parameter", one:refused("head", { x = moonlog.null }))
    assert.equal(0, assert(one:call("head", { stream = moonlog.null })).position)
    assert.match("^BAD_REQUEST: stream is no str", one:refused("head", { stream = 7 }))
    local twice = "\x94\x00\x01\xa4head\x91\x82\xa6stream\xa1a\xa6stream\xa1b"
    assert.equal("BAD_REQUEST: head has the parameter stream twice",
      peer.raw(served, twice, 1)[1][3][2])
  end)

  it("ignores notifications that it does not know, and answers to nothing", function()
    one:notify("what", {})
    one:notify("head", {})
    one:notify("unsubscribe", { subscription = 1 })
    one:notify("append", { stream = "", events = {} })
    one:send { 1, 7, moonlog.null, true }
    assert.equal(0, assert(one:call "head").position)
    assert.equal(0, #one.pushed)
  end)

  it("closes after what is no message", function()
    for _, message in ipairs {
      { 0, 1, "head" }, { 2, "head" }, { 3, 1, "head", {} }, { -1 }, { "x" }, moonlog.array {},
      { 0, -1, "head", {} }, { 0, 1 << 32, "head", {} }, { 0, "x", "head", {} },
    } do
      local other <close> = peer.connect(served.uri)
      other:send(message)
      local answer = assert(other:receive())
      assert.same({ 1, 0, 1 }, { answer[1], answer[2], answer[3][1] })
      assert.match("^BAD_REQUEST: ", answer[3][2])
      assert.is_true(other:is_closed())
    end
  end)

  it("closes after bytes that are or will be no message, and says why", function()
    local head = moonlog.pack { 0, 99, "head", { {} } }
    for said, bytes in pairs {
      ["BAD_REQUEST: byte c1"] = "\xc1",
      ["TOO_LARGE: the message is over"] = "\x94\x00\x01\xa4head\xc6\x00\x90\x00\x00",
      ["BAD_REQUEST: the message nests more than 40"] =
        "\x94\x00\x01\xa4head" .. ("\x91"):rep(40) .. "\x01",
    } do
      local messages = peer.raw(served, bytes .. head, 2)
      assert.equal(1, #messages)
      assert.equal(said, messages[1][3][2]:sub(1, #said))
    end
    -- One level less is decoded, and refused for what it says.
    local deep = "\x94\x00\x01\xa4head" .. ("\x91"):rep(39) .. "\x01"
    local messages = peer.raw(served, deep .. head, 2)
    assert.match("^BAD_REQUEST: head takes", messages[1][3][2])
    assert.equal(99, messages[2][2])
  end)

  it("takes many messages at once", function()
    local bytes = {}
    for n = 1, 50 do bytes[n] = moonlog.pack { 0, n + 100, "head", { {} } } end
    local messages = peer.raw_at_once(served, table.concat(bytes), 50)
    for n = 1, 50 do assert.equal(n + 100, messages[n][2]) end
  end)

  describe("with a token", function()
    local guarded

    setup(function()
      local file = program.write(tmpdir.new() .. "/token", TOKEN .. "\n")
      guarded = daemon.start_tcp(nil, { "--token-file", file })
    end)
    teardown(function() assert.equal(0, (guarded:stop())) end)

    it("wants hello with all of it before anything else, and gives one try", function()
      local calls = { { "head" }, { "status" }, { "api" }, { "what" }, { "hello" },
        { "append", { stream = "a", events = {} } },
        { "hello", { token = "" } }, { "hello", { token = TOKEN:sub(1, -2) } },
        { "hello", { token = TOKEN .. "x" } }, { "hello", { token = TOKEN .. TOKEN } },
        { "hello", { token = TOKEN:sub(1, -2) .. "4" } },
        { "hello", { token = "x" .. TOKEN:sub(2) } } }
      for _, call in ipairs(calls) do
        local stranger <close> = peer.connect(guarded.tcp)
        local why = stranger:refused(table.unpack(call))
        assert.match("^UNAUTHENTICATED: ", why)
        stranger.socket:send({ 0, 7, "hello", { { token = TOKEN } } }, 1000) -- it may be gone
        assert.is_nil((stranger:receive()))
      end
    end)

    it("hears no notification before that", function()
      local near <close> = peer.connect(guarded.uri)
      assert(near:call("listen", { subject = "told" }))
      local stranger <close> = peer.connect(guarded.tcp)
      stranger:notify("signal", { subject = "told", data = 1 })
      assert.equal("moonlog", assert(stranger:call("hello", { token = TOKEN })).server)
      stranger:notify("signal", { subject = "told", data = 2 })
      assert.equal(2, select(2, near:push()).data)
    end)

    it("takes no large message before that", function()
      local stranger <close> = peer.connect(guarded.tcp)
      stranger:send { 0, 1, "hello", { { token = ("x"):rep(5000) } } }
      assert.match("^TOO_LARGE: ", assert(stranger:receive())[3][2])
      assert.is_true(stranger:is_closed())
      local known <close> = peer.connect(guarded.tcp)
      assert(known:call("hello", { token = TOKEN }))
      assert(known:call("hello", { client = ("x"):rep(200) }))
      assert.match("^NOT_FOUND: ", known:refused("head", { stream = ("x"):rep(500) }))
    end)

    it("is not asked for on the unix socket", function()
      local near <close> = peer.connect(guarded.uri)
      assert.equal(0, assert(near:call "head").position)
    end)
  end)
end)
