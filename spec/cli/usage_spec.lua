-- The command line itself: help, options, and how it says no.
local json = require "spec.support.json"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"

local verbs = {
  "append", "import", "export", "read", "streams", "head", "status", "verify", "bench", "help",
  "version", "serve", "config", "tail", "signal", "listen", "rpc", "repl",
  "dev", "command", "state", "rules", "projection", "test", "doctor",
}

describe("cli: help", function()
  it("lists every verb", function()
    local out, err, status = program.run { "help" }
    assert.equal(0, status)
    assert.equal("", err)
    for _, verb in ipairs(verbs) do
      assert.truthy(out:find("\n  " .. verb .. " ", 1, true), verb)
    end
  end)

  it("is the same for `help VERB` and `VERB --help`, with usage and an example", function()
    for _, verb in ipairs(verbs) do
      local one = program.run { "help", verb }
      local other, _, status = program.run { verb, "--help" }
      assert.equal(0, status)
      assert.equal(one, other)
      assert.truthy(one:find("usage: moonlog " .. verb, 1, true), verb)
      assert.truthy(one:find("\nexample\n  moonlog ", 1, true), verb)
    end
  end)

  it("explains every exit status", function()
    local out = program.run { "help" }
    for status, meaning in pairs { [1] = "failed: bad data", [2] = "a wrong command line" } do
      assert.truthy(out:find(("\n  %-5d%s"):format(status, meaning), 1, true), meaning)
    end
  end)

  it("prints the version in two ways", function()
    local out = program.run { "version" }
    assert.truthy(out:match "^moonlog %d+%.%d+%.%d+\n$")
    assert.equal(out, (program.run { "--version" }))
  end)
end)

describe("cli: a wrong command line", function()
  local function refused(words, sentence)
    local out, err, status = program.run(words)
    assert.equal(2, status, table.concat(words, " "))
    assert.equal("", out)
    assert.truthy(err:match "^moonlog: BAD_REQUEST: [^\n]+\n$", err)
    assert.truthy(err:find(sentence, 1, true), err)
  end

  it("says when there is no verb", function() refused({}, "no verb given") end)

  it("guesses which verb was meant", function()
    refused({ "appnd" }, "did you mean append?")
    refused({ "raed" }, "did you mean read?")
    refused({ "help", "vrify" }, "did you mean verify?")
    refused({ "xyzzy" }, "`moonlog help` lists them")
  end)

  it("guesses which option was meant", function()
    refused({ "read", "s", "--limt", "3" }, "did you mean --limit?")
    refused({ "read", "s", "--limt=3" }, "did you mean --limit?")
    refused({ "read", "s", "--bac" }, "did you mean --backward?")
    refused({ "read", "s", "--xyz" }, "`moonlog help read` lists them")
    refused({ "status", "--quux" }, "`moonlog help status` lists them")
    refused({ "status", "-x" }, "status has no option '-x'")
  end)

  it("counts words", function()
    refused({ "append", "s" }, "STREAM TYPE [JSON|-]")
    refused({ "read", "a", "b" }, "no place for the word 'b'; in a shell, '$all'")
    refused({ "read" }, "in a shell, '$all' and '$category:C' want their quotes")
    refused({ "head", "a", "b" }, "no place for the word 'b'; see `moonlog help head`")
  end)

  it("wants a value for every option that takes one, and none for a switch", function()
    local valued = {
      append = { "expected", "tag", "meta", "id", "occurred", "schema", "durability",
                 "wait" },
      import = { "batch", "wait" },
      export = { "from", "to" },
      read = { "type", "tag", "from", "limit" },
      streams = { "category", "prefix", "limit", "after" },
      status = { "data", "connect", "output" },
    }
    local first = { append = { "append", "s", "t" }, read = { "read", "s" } }
    for verb, names in pairs(valued) do
      for _, name in ipairs(names) do
        local words = { table.unpack(first[verb] or { verb }) }
        words[#words + 1] = "--" .. name .. "="
        refused(words, "--" .. name .. " wants a value")
        words[#words] = "--" .. name
        refused(words, "--" .. name .. " wants a value")
        words[#words + 1] = ""
        refused(words, "--" .. name .. " wants a value")
      end
    end
    refused({ "read", "s", "--raw=yes" }, "--raw takes no value")
    refused({ "read", "s", "--limit", "--raw" }, "--limit wants a value")
  end)

  it("names what a value must be", function()
    refused({ "append", "s", "t", "--expected", "-1" }, "--expected wants any, no_stream")
    refused({ "append", "s", "t", "--expected", "9223372036854775808" }, "--expected wants")
    refused({ "append", "s", "t", "--id", "x" }, "--id wants a UUID")
    refused({ "append", "s", "t", "--occurred", "yesterday" }, "--occurred wants a time")
    refused({ "append", "s", "t", "--schema", "0" }, "--schema wants a whole number from 1")
    refused({ "append", "s", "t", "--durability", "tape" }, "--durability knows")
    refused({ "import", "--batch", "1025" }, "--batch wants a whole number from 1 to 1024")
    refused({ "import", "--batch", "0" }, "--batch wants")
    refused({ "append", "s", "t", "--wait", "long" }, "--wait wants a whole number from 0")
    refused({ "export", "--from", "x" }, "--from wants a whole number")
    refused({ "export", "--from", "9", "--to", "3" }, "--to 3 lies before --from 9")
    refused({ "read", "s", "--limit", "0" }, "--limit wants a whole number from 1")
    refused({ "read", "s", "--from", "18446744073709551616" }, "--from wants")
    refused({ "read", "" }, "read wants a stream")
    refused({ "read", "$category:" }, "read wants a stream")
    refused({ "head", "" }, "the name of a stream is not empty")
    refused({ "status", "-o", "xml" }, "--output knows table, json, ndjson and lua")
  end)

  it("says it in JSON where that was asked for, even later on the line", function()
    local _, err, status = program.run { "read", "s", "--quux", "-o", "json" }
    assert.equal(2, status)
    local said = json.read(err).error
    assert.equal("BAD_REQUEST", said.code)
    assert.equal(1, said.number)
    assert.is_false(said.retry)
    assert.truthy(said.message:find "--quux")
  end)

  it("keeps what it says on one line", function()
    refused({ "app\nend\27" }, "there is no verb 'app\\u000aend\\u001b'")
  end)
end)

describe("cli: the surroundings", function()
  it("takes options before, between and behind the words, and -- ends them", function()
    local dir = tmpdir.new() .. "/s"
    local out, _, status =
      program.run { "--data=" .. dir, "append", "-ojson", "a", "--tag", "x", "T", "--", "-1" }
    assert.equal(0, status)
    assert.same({ position = 1, revision = 0, stream = "a" }, json.read(out))
    out = program.run { "read", "a", "--data", dir }
    assert.equal(-1, json.read(out).data)
    program.run { "append", "a", "T", "-5", "--data", dir }
    out = program.run { "read", "a", "--data", dir, "--from", "1" }
    assert.equal(-5, json.read(out).data)
  end)

  it("takes the directory from MOONLOG_DATA, and --data goes first", function()
    local dir = tmpdir.new()
    local set = "MOONLOG_DATA=" .. dir .. "/a " .. program.path
    local _, err, status = program.shell(set .. " append s T 1")
    assert.equal(0, status, err)
    local out = program.shell(set .. " head")
    assert.equal(1, json.read(out).position)
    _, _, status = program.shell(set .. " head --data " .. dir .. "/b")
    assert.equal(3, status)
  end)

  it("fails when stdout is full, and quietly when its reader has gone", function()
    local dir = tmpdir.new() .. "/s"
    local on = program.on(dir)
    on { "append", "a", "T", "1" }
    for _, words in ipairs { { "help" }, { "read", "a" }, { "export" }, { "status" }, { "head" },
                             { "streams" }, { "verify" }, { "append", "a", "T" } } do
      words[#words + 1] = "--data=" .. dir
      local _, err, status = program.shell(program.command(words) .. " >/dev/full")
      assert.equal(1, status, words[1])
      assert.truthy(err:match "^moonlog: IO: write stdout[^\n]+ was done\n$", err)
    end
    local lines = {}
    for i = 1, 5000 do lines[i] = ('{"stream":"b","type":"T","data":%d}'):format(i) end
    on({ "import" }, table.concat(lines, "\n"))
    local command = program.command { "export", "--data", dir }
    local _, err = program.shell("{ " .. command .. "; echo status $? >&2; } | head -n 1")
    assert.truthy(err:match "^status 141\n$", err)
  end)

  it("colours nothing that is no terminal", function()
    local on = program.on(tmpdir.new() .. "/s")
    on { "append", "a", "T", "1" }
    assert.is_nil((on { "read", "a", "-o", "table" }):find "\27")
  end)
end)
