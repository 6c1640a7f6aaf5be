-- moonlog streams, head, status, verify; and directories that are no good.
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

describe("cli: questions about a store", function()
  local on, dir
  setup(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    for _, stream in ipairs { "account-1", "order-1", "account-2", "account-1" } do
      local _, err, status = on { "append", stream, "T", "1" }
      assert.equal(0, status, err)
    end
  end)

  local function names(...)
    local out, err, status = on { "streams", ... }
    assert.equal(0, status, err)
    local list = {}
    for i, info in ipairs(json.lines(out)) do list[i] = info.stream end
    return table.concat(list, " ")
  end

  it("lists streams in the order they began", function()
    assert.equal("account-1 order-1 account-2", names())
    assert.equal("account-1 account-2", names("--category", "account"))
    assert.equal("order-1", names("--prefix", "ord"))
    assert.equal("account-1 order-1", names("--limit", "2"))
    assert.equal("account-2", names("--after", "2"))
    assert.equal("", names("--prefix", "x"))
    assert.equal('{"stream":"account-1","revision":1,"first":1,"last":4}\n',
      (on { "streams", "--limit", "1" }))
  end)

  it("knows the head of the log and of a stream", function()
    assert.equal('{"position":4}\n', (on { "head" }))
    assert.equal('{"position":4,"revision":1,"stream":"account-1","first":1}\n',
      (on { "head", "account-1" }))
    local out, err, status = on { "head", "nobody" }
    assert.equal(3, status)
    assert.equal("", out)
    assert.truthy(err:match "^moonlog: NOT_FOUND: ", err)
  end)

  it("tells sizes and counts", function()
    local said = json.read((on { "status" }))
    assert.equal(4, said.position)
    assert.equal(4, said.durable)
    assert.equal(dir, said.directory)
    assert.truthy(said.version:match "^%d+%.%d+%.%d+$")
    assert.is_false(said.damaged)
    assert.is_nil(said.read_only)
    for _, name in ipairs { "segments", "log_bytes", "used_bytes", "index_bytes", "index_runs",
                            "memory_events", "torn_bytes" } do
      assert.equal("integer", math.type(said[name]), name)
    end
    assert.truthy((on { "status", "-o", "table" }):match "\nposition +4\n")
  end)

  it("finds nothing wrong with a sound store", function()
    for _, deep in ipairs { false, true } do
      local out, err, status = on { "verify", deep and "--deep" or nil }
      assert.equal(0, status, err)
      assert.equal("", err)
      local said = json.read(out)
      assert.is_true(said.ok)
      assert.equal(4, said.events)
      assert.equal(0, said.problems)
      assert.is_true(said.segments >= 1 and said.frames >= 1 and said.bytes > 0)
    end
  end)
end)

describe("cli: a damaged store", function()
  local on, dir
  before_each(function()
    dir = tmpdir.new() .. "/store"
    on = program.on(dir)
    for i = 1, 3 do on { "append", "a", "T", ('"%s%d"'):format(("treasure"):rep(9), i) } end
    -- Flip a bit in the data of the first event, wherever it lies.
    local pipe = assert(io.popen("grep -rl treasure " .. dir .. " | head -n 1"))
    local path = assert(pipe:read "l")
    pipe:close()
    local handle = assert(io.open(path, "r+b"))
    local at = assert(handle:read("a"):find("treasure", 1, true))
    handle:seek("set", at - 1)
    handle:write "T"
    handle:close()
  end)

  it("is reported by verify, which exits 7", function()
    local out, err, status = on { "verify" }
    assert.equal(7, status)
    assert.is_false(json.read(out).ok)
    assert.is_true(json.read(out).problems >= 1)
    for text in err:gmatch "[^\n]+" do assert.truthy(text:match "^moonlog: CORRUPT: ", text) end
    assert.not_equal("", err)
  end)

  it("is reported in JSON where that was asked for", function()
    local out, err, status = on { "verify", "--deep", "-o", "json" }
    assert.equal(7, status)
    assert.is_false(json.read(out).ok)
    for _, said in ipairs(json.lines(err)) do assert.equal("CORRUPT", said.error.code) end
  end)

  it("is never silently read", function()
    local out, err, status = on { "read", "a" }
    assert.equal(1, status)
    assert.is_nil(out:find "Treasure")
    assert.truthy(err:match "^moonlog: CORRUPT: ", err)
  end)
end)

describe("cli: a directory", function()
  local function refused(code, wanted, words)
    local out, err, status = program.run(words)
    assert.equal(wanted, status, err)
    assert.equal("", out)
    assert.truthy(err:match("^moonlog: " .. code .. ": [^\n]+\n$"), err)
    return err
  end

  it("must be there to be read, and is made to be written", function()
    local dir = tmpdir.new()
    for _, words in ipairs { { "read", "a" }, { "export" }, { "streams" }, { "head" },
                             { "status" }, { "verify" } } do
      words[#words + 1] = "--data=" .. dir .. "/none"
      local err = refused("NOT_FOUND", 3, words)
      assert.truthy(err:find("/none; append or import creates it", 1, true), err)
    end
    local _, err, status = program.run { "append", "a", "T", "--data", dir .. "/some" }
    assert.equal(0, status, err)
  end)

  it("that holds something else is left alone", function()
    local dir = tmpdir.new()
    program.write(dir .. "/letter.txt", "dear")
    refused("NOT_A_STORE", 1, { "append", "a", "T", "--data", dir })
    refused("NOT_A_STORE", 1, { "head", "--data", dir })
    refused("NOT_A_STORE", 1, { "verify", "--data", dir })
    assert.equal("letter.txt\n", (program.shell("ls -A " .. dir)))
  end)

  it("that cannot be one is refused", function()
    local file = program.write(tmpdir.new() .. "/file", "x")
    refused("%u[%u_]+", 1, { "append", "a", "T", "--data", file .. "/store" })
    refused("%u[%u_]+", 1, { "append", "a", "T", "--data", file })
  end)

  it("is shared while an import runs", function()
    local dir = tmpdir.new() .. "/store"
    local on = program.on(dir)
    local writer = assert(io.popen(
      program.command { "import", "--batch", "1", "--data", dir } .. " >/dev/null", "w"))
    writer:write '{"stream":"a","type":"T","data":1}\n'
    writer:flush()
    local _, status
    repeat _, _, status = on { "head", "a" } until status == 0
    local _, err, told = on { "append", "a", "T", "2" }
    assert.equal(0, told, err)
    assert.equal(2, #json.lines((on { "read", "a" })))
    assert.equal(2, json.read((on { "status" })).position)
    _, err, told = on { "verify", "--deep" }
    assert.equal(0, told, err)
    writer:write '{"stream":"a","type":"T","data":3}\n'
    assert.is_true(writer:close())
    assert.equal(3, json.read((on { "head" })).position)
  end)
end)
