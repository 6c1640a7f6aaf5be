-- Rules that look for a way out, or for something that is not the same on every run.
return {
  { "os", "raised", "return os.execute 'true'" },
  { "io", "raised", "return io.open '/etc/passwd'" },
  { "load", "raised", "return load 'return 1'" },
  { "dofile", "raised", "return dofile '/etc/passwd'" },
  { "debug", "raised", "return debug.getregistry()" },
  { "package", "raised", "return package.loadlib('/lib/libc.so.6', 'system')" },
  { "collectgarbage", "raised", "return collectgarbage 'count'" },
  { "xpcall", "raised", "return xpcall(error, function() while true do end end)" },
  { "coroutine", "raised", "return coroutine.wrap(function() end)" },
  { "print", "raised", "print 'hello'" },
  { "the dice", "raised", "return math.random()" },
  { "string.dump", "raised", "return string.dump(function() end)" },
  { "_G", "raised", "return _G.os" },
  { "the environment's metatable", "raised", "getmetatable(_ENV).__index = nil" },
  { "another metatable for the environment", "raised", "setmetatable(_ENV, nil)" },
  { "the metatable of strings", "raised", "getmetatable('').__index = nil" },
  { "the metatable of null", "raised",
    "getmetatable(require 'moonlog'.null).__gc = function() end" },
  { "the metatable of arrays", "raised", "getmetatable(require 'moonlog'.array {}).__mode = 'k'" },
  { "a finalizer", "raised", "setmetatable({}, { __gc = function() while true do end end })" },
  { "a finalizer that comes later", "none", [[
    local meta = {}
    for _ = 1, 1000 do setmetatable({}, meta) end
    meta.__gc = function() while true do end end
    for _ = 1, 100000 do local t = {} end]] },
  { "a weak table", "raised", "setmetatable({}, { __mode = 'k' })" },
  { "a file that is not of the pack", "raised", "require '../../etc/passwd'" },
  { "a file by its root", "raised", "require '/etc/passwd'" },
  { "a C module", "raised", "require 'coretest'" },
  { "bytecode", "compile", string.dump(load "return 1") },
  { "bytecode that was tampered with", "compile",
    (string.dump(load "return 1"):gsub("\x80", "\xff")) },
  { "bytecode in a file that is required", "compile", "require 'lib.compiled'" },
  { "an address in text", "raised", "return ('%p'):format({})" },
  { "an address as a key", "none",
    "local t = {} t[tostring({})] = 1 assert(next(t) == '<table>')" },
  { "undoing a word", "none", [[
    local m = require "moonlog"
    m.event, m.refuse = nil, function() while true do end end]] },
  { "undoing the libraries", "none", [[
    string.format, table.concat, error, pcall, tostring = nil, nil, nil, nil, nil
    rawset(_ENV, "assert", nil)]] },
  { "a loop in the text of an error", "raised", [[
    error(setmetatable({}, { __tostring = function() while true do end end }))]] },
  { "a loop in the fields of an error", "raised", [[
    error(setmetatable({}, { __index = function() while true do end end }))]] },
  { "an error that is itself", "raised", "local e = {} e.message = e error(e)" },
  { "an error of a megabyte", "raised", "error(('x'):rep(1 << 20))" },
  { "an error with control characters", "raised", "error('\\27[2J\\27]0;title\\7\\0')" },
  { "a name that breaks lines", "raised", "local t = {} t['a\\n\\27[31mb'].c = 1" },
}
