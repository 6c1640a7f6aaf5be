-- Loaded by busted before the specs: what every spec may use.
-- MOONLOG_BUILD names the build directory under test (build, build/asan, …).
local build = os.getenv "MOONLOG_BUILD" or "build"
package.cpath = build .. "/?.so;" .. package.cpath
package.path = "./?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path

-- Required here, it is the same table in every file: busted insulates what files require.
require("spec.support.running").watch(require "busted")
