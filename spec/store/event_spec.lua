-- What an event may be (core/base/limits.h, moonlog.h) and how it is stored (core/store/event.h).
local base = require("coretest").base
local stores = require "spec.support.stores"
local append, event, int, str = stores.append, stores.event, stores.int, stores.str

local MIB <const> = 1 << 20

describe("store/event", function()
  local store
  before_each(function() store = stores.new { segment_bytes = 8 << 20 } end)

  local function last() return stores.all(store, { backward = true, limit = 1 })[1] end

  -- Nothing was written, no position used.
  local function refuses(pattern, stream, events, more)
    local before = store:head().position
    local receipt, why = append(store, stream, events, more)
    assert.is_nil(receipt)
    assert.matches(pattern, why)
    assert.equal(why, store:why())
    assert.equal(before, store:head().position)
    assert.equal(before + 1, assert(append(store, "after-it", { "Went" })).first)
  end

  it("comes back with every field", function()
    local given = { type = "Opened", data = "\x81\xa1a\x01", meta = "\x81\xa1b\xc3",
                    tags = { "course:c1", "é" }, id = stores.id(9), schema = 70000,
                    occurred = -5 }
    local receipt = assert(append(store, "account-ada", { "First", given }))
    assert.same({ 1, 2, { 1 } }, { receipt.first, receipt.last, receipt.revisions })
    local found = last()
    for key, value in pairs(given) do assert.same(value, found[key], key) end
    assert.same({ 2, 1, "account-ada" }, { found.position, found.revision, found.stream })
  end)

  it("has defaults for what was not given", function()
    assert(append(store, "a", { "T" }))
    local found = last()
    assert.same({ 1, {}, "\xc0", "\xc0" }, { found.schema, found.tags, found.data, found.meta })
    assert.is_nil(found.occurred)
    assert.equal(7, found.id:byte(7) >> 4)
    assert(append(store, "a", { "T" }))
    assert.not_equal(found.id, last().id)
  end)

  it("is stored as an array of its fields", function()
    assert(append(store, "st", { event("T", { data = int(300), meta = "\x80", tags = { "x" },
                                              id = stores.id(1), schema = 200, occurred = 9 }) }))
    local found = last()
    assert.equal("\x9b\xcf" .. string.pack(">I8", 1) .. "\xcf" .. string.pack(">I8", 0) .. "\xcf" ..
                 string.pack(">I8", found.time) .. "\xa2st\xa1T\xcc\xc8\xc4\x10" .. stores.id(1) ..
                 "\x91\xa1x\xcd\x01\x2c\x80\x09", found.wire)
  end)

  it("may have integers of every width for schema and occurred", function()
    for _, schema in ipairs { 1, 127, 128, 255, 256, 65535, 65536, 2147483647 } do
      assert(append(store, "a", { event("T", { schema = schema }) }))
      assert.equal(schema, last().schema)
    end
    for bits = 0, 63 do
      for _, occurred in ipairs { 1 << bits, (1 << bits) - 1, -(1 << bits), ~(1 << bits) } do
        assert(append(store, "a", { event("T", { occurred = occurred }) }, { durability = "os" }))
        assert.equal(occurred, last().occurred)
      end
    end
    refuses("^BAD_REQUEST: event 1: schema is 2147483648, the limit", "a",
            { event("T", { schema = 2147483648 }) })
  end)

  it("has a stream of 1 to 512 bytes of UTF-8 without control characters", function()
    for _, size in ipairs { 1, 31, 32, 255, 256, 512 } do
      local name = ("s"):rep(size)
      assert(append(store, name, { "T" }))
      assert.equal(name, last().stream)
    end
    refuses("^TOO_LARGE: the stream has 513 bytes, the limit is 512", ("s"):rep(513), { "T" })
    refuses("^BAD_REQUEST: the stream is empty", "", { "T" })
    refuses("^BAD_REQUEST: the stream is not UTF%-8", "a\xff", { "T" })
    refuses("^BAD_REQUEST: the stream is not UTF%-8", "a\xed\xa0\x80", { "T" })
    for _, control in ipairs { 0, 9, 10, 31, 127 } do
      refuses("^BAD_REQUEST: the stream holds the control character " .. control .. " at byte 2",
              "a" .. string.char(control), { "T" })
    end
  end)

  it("has a type of 1 to 256 bytes", function()
    assert(append(store, "a", { ("t"):rep(256) }))
    assert.equal(("t"):rep(256), last().type)
    refuses("^TOO_LARGE: event 2: the type has 257 bytes", "a", { "T", ("t"):rep(257) })
    refuses("^BAD_REQUEST: event 1: the type is empty", "a", { "" })
    refuses("^BAD_REQUEST: event 3: the type is not UTF%-8", "a", { "T", "T", "\x80" })
    refuses("^BAD_REQUEST: event 1: the type holds the control character 10 at byte 1", "a",
            { "\n" })
  end)

  it("has at most 32 tags of 1 to 256 bytes, no two equal", function()
    for _, count in ipairs { 15, 16, 32, 33 } do
      local tags = {}
      for n = 1, count do tags[n] = n == 1 and ("g"):rep(256) or "tag" .. n end
      if count <= 32 then
        assert(append(store, "a", { event("T", { tags = tags }) }))
        assert.same(tags, last().tags)
      else
        refuses("^TOO_LARGE: event 1: 33 tags, the limit is 32", "a",
                { event("T", { tags = tags }) })
      end
    end
    for pattern, tag in pairs { ["TOO_LARGE: event 1: the tag has 257 bytes"] = ("g"):rep(257),
                                ["BAD_REQUEST: event 1: the tag is empty"] = "",
                                ["BAD_REQUEST: event 1: the tag is not UTF%-8"] = "\xc0\x80",
                                ["BAD_REQUEST: event 1: the tag holds the control"] = "a\0",
                                ['BAD_REQUEST: event 1: the tag "x" is there twice'] = "x" } do
      refuses("^" .. pattern, "a", { event("T", { tags = { "x", tag } }) })
    end
  end)

  it("has one MessagePack value as data", function()
    local values = { "\xc0", "\xc3", int(-1), str "text", "\x90", "\x80", "\xcb" .. ("\0"):rep(8),
                     "\xcf\x7f" .. ("\xff"):rep(7), "\xc4\3abc", "\xd4\5x", "\xc1" }
    for i, value in ipairs(values) do
      if i < #values then
        assert(append(store, "a", { event("T", { data = value }) }))
        assert.equal(value, last().data)
      else
        refuses("^BAD_REQUEST: event 1: data", "a", { event("T", { data = value }) })
      end
    end
    refuses("^BAD_REQUEST: event 1: data", "a", { event("T", { data = "\x01\x02" }) })
    refuses("^BAD_REQUEST: event 1: data holds the integer 9223372036854775808, over 2%^63%-1", "a",
            { event("T", { data = "\xcf\x80" .. ("\0"):rep(7) }) })
    refuses("^BAD_REQUEST: event 1: data", "a", { event("T", { data = "\xa5abc" }) })
    refuses("^BAD_REQUEST: event 1: data", "a", { event("T", { data = "\xdf\xff\xff\xff\xff" }) })
  end)

  it("has a map or nil as meta", function()
    for _, meta in ipairs { "\x80", "\xc0", "\xde\0\0" } do
      assert(append(store, "a", { event("T", { meta = meta }) }))
      assert.equal(meta, last().meta)
    end
    refuses("^BAD_REQUEST: event 1: meta is no map", "a", { event("T", { meta = "\x90" }) })
    refuses("^BAD_REQUEST: event 1: meta is no map", "a", { event("T", { meta = int(1) }) })
    refuses("^BAD_REQUEST: event 1: meta", "a", { event("T", { meta = "\x81" }) })
  end)

  it("nests 30 levels deep and no deeper", function()
    local deep = ("\x91"):rep(29) .. "\x90"
    assert(append(store, "a", { event("T", { data = deep }) }))
    assert.equal(deep, last().data)
    refuses("^%u+_?%u+: event 1: data.* 30", "a", { event("T", { data = "\x91" .. deep }) })
    deep = ("\x81\xa1k"):rep(29) .. "\x80"
    assert(append(store, "a", { event("T", { meta = deep }) }))
    refuses("^%u+_?%u+: event 1: meta.* 30", "a", { event("T", { meta = "\x81\xa1k" .. deep }) })
  end)

  it("has at most 1 MiB of data and meta", function()
    local function blob(size) return base.pack("b", ("x"):rep(size - 5)) end
    assert(append(store, "a", { event("T", { data = blob(MIB) }) }))
    assert.equal(MIB, #last().data)
    assert(append(store, "a", { event("T", { data = blob(MIB - 1), meta = "\x80" }) }))
    refuses("^TOO_LARGE: event 1: data and meta are 1048577 bytes, the limit is 1048576", "a",
            { event("T", { data = blob(MIB + 1) }) })
    refuses("^TOO_LARGE: event 2: data and meta are 1048577", "a",
            { "T", event("T", { data = blob(MIB), meta = "\x80" }) })
  end)

  it("comes with at most 1,023 others, and 8 MiB in all", function()
    local many = {}
    for n = 1, 1024 do many[n] = "T" end
    assert.equal(1024, assert(append(store, "a", many)).last)
    many[1025] = "T"
    refuses("^TOO_LARGE: more than 1024 events in one append", "a", many)
    local big = event("T", { data = base.pack("b", ("x"):rep(MIB - 5)) })
    assert(append(store, "a", { big, big, big, big, big, big, big }))
    refuses("^TOO_LARGE: the append takes 8%d+ bytes, the limit is 8388608", "a",
            { big, big, big, big, big, big, big, big })
  end)
end)
