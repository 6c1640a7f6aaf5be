-- What a command's handler may come up with: name, what the daemon says, the handler's body. Each
-- becomes one line of a rule file, so that "error" can ask for its file and line.
-- `m` is moonlog; `s`, `args`, `ctx` are the handler's.
return {
  -- too much, too long
  { "a thousand large events", "error", [[
    local t, x = {}, ("x"):rep(60000) for n = 1, 1024 do t[n] = m.event("Done", x) end return t]] },
  { "more than an append may hold", "error", [[
    local t, x = {}, ("x"):rep(950000) for n = 1, 10 do t[n] = m.event("Done", x) end return t]] },
  { "an event of over a megabyte", "error", 'return m.event("Done", ("x"):rep(1048570))' },
  { "a million events", "error", [[
    local t = {} for n = 1, 1000000 do t[n] = m.event("Done", {}) end return t]] },
  { "one event too many", "error", [[
    local t = {} for n = 1, 1025 do t[n] = m.event("Done", {}) end return t]] },
  { "as many events as there may be", "events", [[
    local t = {} for n = 1, 1024 do t[n] = m.event("Done", {}) end return t]] },
  { "one event with long tags, many times", "error", [[
    local tags, t = {}, {} for n = 1, 32 do tags[n] = ("t"):rep(254) .. n % 10 .. n // 10 end
    local e = m.event("Done", {}, { tags = tags }) for n = 1, 1024 do t[n] = e end return t]] },
  { "a long text", "error", 'return m.event("Done", ("x"):rep(1 << 30))' },
  { "a list over a megabyte", "error", [[
    local t = {} for n = 1, 300000 do t[n] = n end return m.event("Done", t)]] },
  { "a small table that is a large message", "error", [[
    local t = { 1 } for _ = 1, 28 do t = { t, t } end return m.event("Done", t)]] },
  { "maps that are a large message", "error", [[
    local t = { a = 1 } for _ = 1, 25 do t = { a = t, b = t, c = t } end
    return m.event("Done", t)]] },
  { "meta that is a large message", "error", [[
    local t = { 1 } for _ = 1, 25 do t = { t, t } end
    return m.event("Done", 1, { meta = { t = t } })]] },
  { "a table that is deep", "error", [[
    local t = {} for _ = 1, 100000 do t = { t } end return m.event("Done", t)]] },
  { "a table that holds itself", "error", "args.x = args return m.event('Done', args)" },
  { "a loop", "error", "while true do end" },
  { "a loop by goto", "error", "::again:: goto again" },
  { "a loop to infinity", "error", "for n = 1, math.huge do local x = n end" },
  { "a loop in pcall", "error", "while true do pcall(function() while true do end end) end" },
  { "a loop while it is closed", "error", [[
    local x <close> = setmetatable({}, { __close = function() while true do end end })
    error "x"]] },
  { "a list without end", "error", "local t = {} while true do t[#t + 1] = #t end" },
  { "recursion without end", "error", "local function f() return 1 + f() end return f()" },
  { "recursion through C", "error", [[
    local function f() return (("a"):gsub("a", f)) end return f()]] },
  { "tail calls of pcall", "error", "local function f() return pcall(f) end return f()" },
  { "a pattern that walks back", "error", [[
    return (("a"):rep(30000):find((".-"):rep(100) .. "b"))]] },
  { "a pattern in a pattern", "error", "return (('a'):find(('('):rep(300)))" },
  -- events that are none
  { "tags, too many", "error", [[
    local t = {} for n = 1, 33 do t[n] = "t" .. n end return m.event("Done", {}, { tags = t })]] },
  { "a tag twice", "error", 'return m.event("Done", {}, { tags = { "a", "a" } })' },
  { "a tag with a zero byte", "error", 'return m.event("Done", {}, { tags = { "a\\0" } })' },
  { "a tag that is no text", "error", 'return m.event("Done", {}, { tags = { "\\xff" } })' },
  { "tags with a hole", "error", 'return m.event("Done", {}, { tags = { "a", nil, "b" } })' },
  { "tags that are a text", "error", 'return m.event("Done", {}, { tags = "a" })' },
  { "a type that is empty", "error", 'return m.event("", {})' },
  { "a type with a zero byte", "error", 'return m.event("a\\0b", {})' },
  { "a type that is long", "error", 'return m.event(("x"):rep(257), {})' },
  { "a type that is no text", "error", 'return m.event("\\xff", {})' },
  { "a schema of 2^31", "error", 'return m.event("Done", {}, { schema = 1 << 31 })' },
  { "a schema with a fraction", "error", 'return m.event("Done", {}, { schema = 1.5 })' },
  { "a schema of 0", "error", 'return m.event("Done", {}, { schema = 0 })' },
  { "meta that is a list", "error", 'return m.event("Done", {}, { meta = m.array { 1 } })' },
  { "meta that is a text", "error", 'return m.event("Done", {}, { meta = "x" })' },
  { "meta with a function", "error", 'return m.event("Done", {}, { meta = { f = error } })' },
  { "data with a function", "error", 'return m.event("Done", { f = error })' },
  { "a type put in later", "error", "local e = m.event('Done', {}) e.type = 5 return e" },
  { "a long type put in later", "error", [[
    local e = m.event("Done", {}) e.type = ("x"):rep(100000) return e]] },
  { "a schema put in later", "error", "local e = m.event('Done', {}) e.schema = 'x' return e" },
  { "data that is the event", "error", "local e = m.event('Done', {}) e.data = e return e" },
  { "tags put in later", "error", "local e = m.event('Done', {}) e.tags = 7 return e" },
  { "meta put in later", "error", "local e = m.event('Done', {}) e.meta = 7 return e" },
  { "meta that answers", "events", [[
    local e = m.event("Done", {})
    e.meta = setmetatable({}, { __index = error, __len = error }) return e]] },
  { "a list that lies about its length", "events", [[
    return setmetatable({ m.event("Done") }, { __len = function() return 1 << 40 end,
      __index = function() return m.event("Done") end })]] },
  { "a list with holes", "error", "return { m.event('Done'), nil, m.event('Done') }" },
  { "a list with names", "error", "return { m.event('Done'), x = 1 }" },
  { "a list of something else", "error", "return { m.event('Done'), 5 }" },
  { "a refusal in a list", "error", "return { m.event('Done'), m.refuse 'NO' }" },
  { "a split", "error", "return m.split { m.event('Done') }" },
  { "a drop", "error", "return m.drop" },
  { "a number", "error", "return 5" },
  { "a function", "error", "return error" },
  { "a null", "error", "return m.null" },
  -- refusals
  { "a refusal of a megabyte and more", "error",
    "local x = ('x'):rep(1 << 19) return m.refuse('X', { x, x, x })" },
  { "a refusal that holds itself", "error", "local t = {} t.t = t return m.refuse('X', t)" },
  { "a refusal's code put in later", "error", "local r = m.refuse 'X' r.code = {} return r" },
  { "a refusal with a long code", "error", "return m.refuse(('X'):rep(1 << 20))" },
  { "a refusal with odd details", "refused",
    "return m.refuse('X', { 0 / 0, m.null, m.bytes 'x' })" },
  -- the state, ctx
  { "changing the state", "error", "s.n = 7" },
  { "changing the state raw", "error", "rawset(s, 'x', 7)" },
  { "a state that holds itself", "error", "s.s = s" },
  { "a state that is a large message", "error", [[
    local t = { 1 } for _ = 1, 28 do t = { t, t } end s.x = t]] },
  { "a metatable for the state", "error", [[
    setmetatable(s, { __index = function() while true do end end }) return s.x]] },
  { "emptying ctx", "events", "ctx.uuid, ctx.now = nil, nil return m.event('Done', {})" },
  { "asking ctx for more", "error", "return ctx.clock" },
  { "the metatable of ctx", "error", "getmetatable(ctx).__index = nil" },
  { "naming another decider", "events", [[
    return m.event("Done", {}, { meta = { unit = "evil", hash = "evil" } })]] },
  -- errors
  { "an error that is deep", "error", "local t = {} for _ = 1, 1000 do t = { t } end error(t)" },
  { "an error that calls itself", "error", [[
    error(setmetatable({}, { __tostring = function(t) return tostring(t) end }))]] },
  { "an error of null", "error", "error(m.null)" },
  { "an error of nil", "error", "error(nil)" },
  { "an error that is an event", "error", "error(m.event('Done', {}))" },
  { "an error that is a refusal", "error", "error(m.refuse 'NO')" },
  { "an error of a megabyte of escapes", "error", "error(('x\\27'):rep(1 << 18))" },
  { "an error that is no text", "error", "error('\\xff\\xfe')" },
  { "an error from far up", "error", "error('x', math.maxinteger)" },
  { "an error from far down", "error", "error('x', math.mininteger)" },
  { "an error that blames another", "error", "error('nobody.lua:1: it was him', 0)" },
  { "an error in gsub", "error", "('x'):rep(10):gsub('x', function() error {} end)" },
  -- the libraries
  { "%d of 2^63", "error", "return ('%d'):format(2^63)" },
  { "%99.99f", "events", "return m.event('Done', { s = ('%99.99f'):format(1e308) })" },
  { "%p", "error", "return ('%p'):format({})" },
  { "%s of a text that is none", "error", [[
    return ("%s"):format(setmetatable({}, { __tostring = function() return {} end }))]] },
  { "utf8.char of what is none", "error", "return utf8.char(-1)" },
  { "utf8.offset far out", "error", "return utf8.offset('abc', math.maxinteger, math.mininteger)" },
  { "utf8.codepoint of all", "error", [[
    return utf8.codepoint("abc", math.mininteger, math.maxinteger)]] },
  { "a sort of a list that lies", "error", [[
    table.sort(setmetatable({}, { __len = function() return 1 << 31 end }))]] },
  { "a move into what raises", "error", [[
    table.move({ 1, 2 }, 1, 2, 1, setmetatable({}, { __newindex = function() error "x" end }))]] },
  { "a concat of a list that lies", "error", [[
    return table.concat(setmetatable({}, { __len = function() return 1 << 62 end,
      __index = function() return "x" end }))]] },
  { "an unpack to the end of numbers", "error", [[
    return table.unpack({}, math.mininteger, math.maxinteger)]] },
  { "a length that is no number", "error", [[
    return table.unpack(setmetatable({}, { __len = function() return "x" end }))]] },
  { "a for without a step", "error", "for _ = 1, 3, 0 do end" },
  { "a for at the end of numbers", "events", [[
    for _ = math.maxinteger - 1, math.maxinteger do end return m.event("Done")]] },
  { "integers at their edges", "events", [[
    return m.event("Done", { math.mininteger // -1, math.mininteger % -1, 1 << 64 })]] },
  { "division by zero", "error", "return 1 // 0" },
  { "the metatable of texts", "error", "getmetatable('').__index = nil" },
  { "a field of a text", "error", "('x').y = 5" },
  { "a field of bytes", "error", "m.bytes('abc').x = 5" },
  { "bytecode", "error", "return string.dump(error)" },
  { "an address in a key", "error", [[
    for _ in pairs { [{}] = 1, [{}] = 2 } do end]] },
  { "a finalizer", "error", "setmetatable({}, { __gc = function() end })" },
  { "a weak table", "error", "setmetatable({}, { __mode = 'k' })" },
  { "a file outside", "error", "return require '../account'" },
  { "a file by a long name", "error", "return require(('x'):rep(100000))" },
  { "a file by a name with a zero byte", "error", "return require 'counter\\0x'" },
  { "another unit's file", "error", "return require 'nobody'" },
}
