-- moonlog import and export: whole batches, named lines, and there and back again.
local json = require "spec.support.json"
local moonlog = require "moonlog"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local function id(n) return ("019b8000-0000-7000-8000-%012d"):format(n) end

local function line(n, more)
  return ('{"stream":"s-%d","type":"T","data":%d%s}'):format(n % 3, n, more or "")
end

local function file(count)
  local lines = {}
  for i = 1, count do lines[i] = line(i) end
  return table.concat(lines, "\n") .. "\n"
end

describe("cli: import", function()
  local on
  before_each(function() on = program.on(tmpdir.new() .. "/store") end)

  local function import(text, ...)
    local out, err, status = on({ "import", ... }, text)
    assert.equal(0, status, err)
    return json.read(out)
  end

  local function head() return json.read((on { "head" })).position end

  --- The text is refused with this sentence, and `kept` events before it stay.
  local function refused(text, sentence, kept, ...)
    local before = 0
    local _, _, there = on { "head" }
    if there == 0 then before = head() end
    local out, err, status = on({ "import", ... }, text)
    assert.equal(1, status, err)
    assert.equal("", out)
    assert.truthy(err:match "^moonlog: [%u_]+: lines? %d+[^\n]+\n$", err)
    assert.truthy(err:find(sentence, 1, true), err)
    assert.truthy(err:find(("; %d events before it were imported"):format(kept), 1, true), err)
    assert.equal(before + kept, head())
    return err
  end

  it("counts events, streams and positions", function()
    local said = import(file(2500))
    assert.equal(2500, said.events)
    assert.equal(3, said.streams)
    assert.equal(1, said.first)
    assert.equal(2500, said.last)
    assert.equal(0, said.duplicates)
    assert.equal("float", math.type(said.seconds))
    assert.is_true(said.events_per_second > 0)
    assert.equal(2500, head())
  end)

  it("keeps the order of the file", function()
    import(file(2500))
    local n = 0
    for _, event in ipairs(json.lines((on { "read", "$all" }))) do
      n = n + 1
      assert.equal(n, event.position)
      assert.equal(n, event.data)
    end
    assert.equal(2500, n)
  end)

  it("reads a file by name, '-' and nothing as stdin", function()
    local path = program.write(tmpdir.new() .. "/f.ndjson", file(2))
    local out = on { "import", path }
    assert.equal(2, json.read(out).events)
    assert.equal(2, import(file(2), "-").events)
    local _, err, status = on { "import", path .. ".gone" }
    assert.equal(3, status)
    assert.truthy(err:match "^moonlog: NOT_FOUND: ", err)
    _, err, status = on { "import", tmpdir.new() }
    assert.equal(1, status)
    assert.truthy(err:match "^moonlog: IO: ", err)
  end)

  it("takes an empty file, empty lines, CRLF and a last line without newline", function()
    local said = import ""
    assert.equal(0, said.events)
    assert.equal(json.null, said.first)
    assert.equal(json.null, said.last)
    assert.equal(0, import("\n\n \t\n").events)
    assert.equal(3, import("\n" .. line(1) .. "\r\n\r\n" .. line(2) .. "\n\n" .. line(3)).events)
  end)

  it("takes lines that come in pieces and lines over a megabyte", function()
    local text = ("x"):rep(1000000)
    local big = '{"stream":"s","type":"T","data":"' .. text .. '"}\n'
    assert.equal(30, import(big:rep(30)).events)
    assert.equal(text, json.read((on { "read", "s", "--from", "29" })).data)
  end)

  it("takes batches of 1 and of 1024", function()
    assert.equal(5, import(file(5), "--batch", "1").events)
    assert.equal(3000, import(file(3000), "--batch", "1024").events)
  end)

  it("ignores the fields that the store gives", function()
    import '{"position":77,"revision":"x","time":null,"stream":"a","type":"T"}'
    local event = json.read((on { "read", "a" }))
    assert.equal(1, event.position)
    assert.equal(0, event.revision)
    assert.equal(json.null, event.data)
  end)

  it("takes null for what may be absent, and occurred as microseconds", function()
    import(line(1, ',"id":null,"tags":null,"meta":null,"occurred":null,"schema":null'))
    import(line(1, ',"occurred":1000000'))
    local events = json.lines((on { "read", "s-1" }))
    assert.is_nil(events[1].occurred)
    assert.is_nil(events[1].tags)
    assert.is_nil(events[1].meta)
    assert.equal("1970-01-01T00:00:01.000000Z", events[2].occurred)
  end)

  it("counts what was there already as duplicates", function()
    local lines = {}
    for i = 1, 20 do lines[i] = line(i, ',"id":"' .. id(i) .. '"') end
    local text = table.concat(lines, "\n")
    assert.equal(20, import(text).events)
    local again = import(text)
    assert.equal(0, again.events)
    assert.equal(20, again.duplicates)
    assert.equal(20, head())
  end)

  it("stops at a bad line with its number, and leaves nothing of its batch", function()
    local text = file(2500) .. '{"stream":"s","type":}\n' .. file(3)
    refused(text, "line 2501, column 22: ", 2000)
    refused(text, "line 2501, column 22: ", 2500, "--batch", "100")
    refused('{"stream":"s","type":}', "line 1, column 22: ", 0)
  end)

  it("accepts a cut last line that is whole, and refuses one that is not", function()
    assert.equal(2, import(line(1) .. "\n" .. line(2)).events)
    local err = refused(line(1) .. "\n" .. line(2):sub(1, -2), "line 2, column ", 0)
    assert.truthy(err:find("cut short", 1, true), err)
  end)

  it("names the field that is wrong, and where", function()
    local function field(text, sentence) refused(line(1) .. "\n" .. text .. "\n", sentence, 0) end
    field("[1]", "line 2, column 1: that is a JSON array; import wants one object a line")
    field("7", "line 2, column 1: a line must be a JSON object")
    field('{"type":"T"}', 'column 1: "stream" is missing')
    field('{"stream":"s"}', 'column 1: "type" is missing')
    field('{"stream":"s","typ":"T"}',
      'line 2, column 15: an event has no field "typ"; did you mean "type"?')
    field('{"stream":"s","type":"T","colour":1}', 'column 26: an event has no field "colour"')
    field('{"stream":"s","type":"T","data":{"stream":[1,{"x":","}]},"tag":1}', "column 58: ")
    field('{"stream":"s","type":"T","type":"U"}', "column 26: this field comes twice")
    field('{"stream":7,"type":"T"}', "column 2: stream must be")
    field('{"stream":"","type":"T"}', "column 2: stream must be")
    field(('{"stream":"%s","type":"T"}'):format(("s"):rep(513)), "column 2: stream must be")
    field('{"stream":"a\\nb","type":"T"}', "column 2: stream must be")
    field('{"stream":"s","type":"T","tags":["\\u007f"]}', "column 26: tags must be")
    field('{"stream":"s","type":null}', "column 15: type must be")
    field(('{"stream":"s","type":"%s"}'):format(("t"):rep(257)), "column 15: type must be")
    field('{"stream":"s","type":"T","meta":[]}', "column 26: meta must be an object")
    field('{"stream":"s","type":"T","tags":"x"}', "column 26: tags must be an array")
    field('{"stream":"s","type":"T","tags":["x",1]}', "column 26: tags must be an array")
    field('{"stream":"s","type":"T","tags":["x","x"]}', "column 26: a tag comes twice")
    field(('{"stream":"s","type":"T","tags":["%s"]}'):format(("x"):rep(257)), "tags must be")
    field('{"stream":"s","type":"T","id":"123"}', "column 26: id must be a UUID")
    field('{"stream":"s","type":"T","occurred":"soon"}', "column 26: occurred must be a time")
    field('{"stream":"s","type":"T","occurred":1.5}', "column 26: occurred must be a time")
    field('{"stream":"s","type":"T","schema":0}', "column 26: schema must be")
    field('{"stream":"s","type":"T","schema":2147483648}', "column 26: schema must be")
    field('{"stream":"s","type":"T","schema":1.0}', "column 26: schema must be")
    field('{"stream":"s","type":"T","data":"\xff"}', "line 2, column 33: ")
    field('{"stream":"\xc0\xaf","type":"T"}', "line 2, column 11: ")
    field('{"stream":"s","type":"T","data":9223372036854775808}', "line 2, column 33: ")
    field('{"stream":"s","type":"T","data":NaN}', "line 2, column 33: ")
    field('{"stream":"s","type":"T","data":"a\0b"}', "line 2, column ")
  end)

  it("says that what -o json prints is an array", function()
    import(line(1))
    refused((on { "export", "-o", "json" }),
      "line 1, column 1: that is a JSON array; import wants one object a line (-o ndjson)", 0)
  end)

  it("counts one event as one", function()
    local _, err = on({ "import", "--batch", "1" }, line(1) .. "\n{")
    assert.truthy(err:find("; 1 event before it was imported\n", 1, true), err)
  end)

  it("takes data 30 levels deep and refuses 31", function()
    local function deep(n)
      return '{"stream":"s","type":"T","data":' .. ("["):rep(n) .. ("]"):rep(n) .. "}\n"
    end
    assert.equal(1, import(deep(30)).events)
    refused(deep(31), "line 1, column ", 0)
    refused(deep(5000), "line 1, column ", 0)
  end)

  it("names the line of a repeated id", function()
    local text = line(1) .. "\n" .. line(2, ',"id":"' .. id(1) .. '"') .. "\n\n"
      .. line(3, ',"id":"' .. id(1) .. '"') .. "\n"
    refused(text, "line 4, column 1: the event id " .. id(1), 0)
    on { "append", "a", "T", "--id", id(7) }
    refused(line(1) .. "\n" .. line(2, ',"id":"' .. id(7) .. '"'), "line 2, column 1: ", 0)
  end)

  it("refuses an event over 1 MiB and a line over 16 MiB", function()
    local text = '{"stream":"s","type":"T","data":"' .. ("x"):rep(1 << 20) .. '"}\n'
    refused(line(1) .. "\n" .. text, "line 2, column 1: data and meta together are over 1 MiB", 0)
    refused(line(1) .. "\n" .. (" "):rep((16 << 20) - 10) .. line(2), "line 2, column 1: ", 0)
    refused(("x"):rep(18 << 20), "line 1, column 1: ", 0)
  end)

  it("stops when interrupted, between two batches", function()
    local dir = tmpdir.new()
    local command = program.command { "import", "--batch", "5", "--data", dir .. "/store" }
    on = program.on(dir .. "/store")
    local writer = assert(io.popen(
      ("cd . && echo $$ >%s/pid && exec %s 2>%s/err"):format(dir, command, dir), "w"))
    writer:write(file(12))
    writer:flush()
    for _ = 1, 200 do
      local out, _, status = on { "head" }
      if status == 0 and json.read(out).position == 10 then break end
      os.execute "sleep 0.02"
    end
    os.execute("kill -INT " .. program.slurp(dir .. "/pid"))
    -- It ends by itself, although its stdin stays open.
    for _ = 1, 200 do
      if program.slurp(dir .. "/err") ~= "" then break end
      os.execute "sleep 0.02"
    end
    assert.equal("moonlog: interrupted; 10 events were imported\n", program.slurp(dir .. "/err"))
    local _, _, status = writer:close()
    assert.equal(130, status)
    assert.equal(10, head())
  end)
end)

describe("cli: export", function()
  local sample = table.concat({
    '{"stream":"a-1","type":"T","schema":3,"id":"' .. id(1) .. '","tags":["x","y z"],'
      .. '"data":{"f":35.0,"i":35,"n":{"$float":"nan"},"b":{"$bin":"AAEC"},"u":"ü\\u0001\\"\\\\"},'
      .. '"meta":{"actor":"ann","deep":[1.5,[]]},"occurred":"2026-01-31T11:00:00.000001Z"}',
    '{"stream":"b","type":"U","schema":1,"id":"' .. id(2) .. '","data":null}',
    '{"stream":"a-1","type":"T","schema":1,"id":"' .. id(3) .. '","data":[1e300,-0.0,0.1,1e-7]}',
    '{"stream":"a-1","type":"T","schema":1,"id":"' .. id(4)
      .. '","data":{"$map":[[1,{"$ext":[5,"AQ=="]}]]},"occurred":"-62167219200000001"}',
  }, "\n") .. "\n"

  --- Without what the store gives: the lines as they could have been imported.
  local function bare(text)
    return (text:gsub('"position":%d+,"revision":%d+,"time":"[^"]+",', ""))
  end

  it("prints what import took, byte for byte", function()
    local on = program.on(tmpdir.new() .. "/store")
    on({ "import" }, sample)
    assert.equal(sample, bare((on { "export" })))
  end)

  it("makes the same log again, but for the time", function()
    local one, other = program.on(tmpdir.new() .. "/s"), program.on(tmpdir.new() .. "/s")
    one({ "import" }, sample .. file(2000))
    local exported = one { "export" }
    local out, err, status = other({ "import", "--batch", "7" }, exported)
    assert.equal(0, status, err)
    assert.equal(2004, json.read(out).events)
    local function timeless(text) return (text:gsub('"time":"[^"]+"', '"time":""')) end
    assert.equal(timeless(exported), timeless((other { "export" })))
  end)

  it("prints the same object as read", function()
    local on = program.on(tmpdir.new() .. "/store")
    on({ "import" }, sample)
    assert.equal((on { "read", "$all" }), (on { "export" }))
  end)

  it("leaves out what is the system's, which import refuses with its line", function()
    local dir = tmpdir.new() .. "/store"
    local store = assert(moonlog.open { dir = dir })
    assert(store:append { { stream = "a", events = { { type = "T" } } },
      { stream = "$rules", events = { { type = "RulesActivated" } } },
      { stream = "b", events = { { type = "T" } } } })
    store:close()
    local one, other = program.on(dir), program.on(tmpdir.new() .. "/s")
    local exported = one { "export" }
    assert.equal(2, #json.lines(exported))
    assert.equal(2, json.read((other({ "import" }, exported))).events)
    local all = one { "export", "--system" }
    assert.equal("$rules", json.lines(all)[2].stream)
    local _, err, status = other({ "import", "--batch", "1" }, all)
    assert.equal(1, status)
    assert.match("^moonlog: FORBIDDEN: line 2, column %d+: streams that begin with %$", err)
  end)

  it("prints a span of positions", function()
    local on = program.on(tmpdir.new() .. "/store")
    on({ "import" }, file(50))
    local events = json.lines((on { "export", "--from", "11", "--to", "13" }))
    assert.equal(3, #events)
    assert.equal(11, events[1].position)
    assert.equal(13, events[3].position)
    assert.equal(1, #json.lines((on { "export", "--from", "50", "--to", "99" })))
    local out, err, status = on { "export", "--from", "51" }
    assert.equal("", out)
    assert.equal(0, status, err)
  end)

  it("is one array with -o json, and a list of tables with -o lua", function()
    local on = program.on(tmpdir.new() .. "/store")
    on({ "import" }, sample)
    assert.equal(4, #json.read((on { "export", "-o", "json" })))
    local n = 0
    for text in (on { "export", "-o", "lua" }):gmatch "[^\n]+" do
      n = n + 1
      local event = assert(load("return " .. text))()
      assert.equal(n, event.position)
      if n == 1 then
        assert.equal("float", math.type(event.data.f))
        assert.equal("integer", math.type(event.data.i))
        assert.is_true(event.data.n ~= event.data.n)
        assert.equal("\0\1\2", event.data.b)
        assert.equal('ü\1"\\', event.data.u)
      end
    end
    assert.equal(4, n)
  end)
end)
