-- examples/clients: the two reference clients against a real daemon, and their README.
local daemon = require "spec.support.daemon"
local program = require "spec.support.program"
local tmpdir = require "spec.support.tmpdir"
local m = require "moonlog"

local PYTHON = "/usr/bin/python3" -- Debian's, which sees Debian's packages

--- Runs a script that is given on stdin; sanitizers are for our own programs.
local function run(command, script)
  return program.shell("env -u LD_PRELOAD PYTHONPATH=examples/clients NODE_PATH=examples/clients "
    .. command, script)
end

local function works(command, script)
  local _, _, status = run(command, script)
  return status == 0
end

--- The code of a language on the page, and what it promises to print.
local function page_of(language)
  local source, promised = {}, {}
  local page = program.slurp "examples/clients/README.md"
  for block in page:gmatch("\n```" .. language.block .. "\n(.-\n)```") do
    source[#source + 1] = block
    for line in block:gmatch("[^\n]+") do
      if line:sub(1, #language.arrow) == language.arrow then
        promised[#promised + 1] = line:sub(#language.arrow + 1) .. "\n"
      end
    end
  end
  return language.wrap(table.concat(source, "\n")), table.concat(promised)
end

local languages = {
  {
    name = "moonlog.py", block = "python", arrow = "# -> ", command = PYTHON .. " -",
    missing = not works(PYTHON .. " -", "import msgpack") and "needs python3-msgpack",
    wrap = function(text) return text end,
    walk = [==[
import sys
from moonlog import Client, Error

def show(*words):
    print(*words, flush=True)

with Client(sys.argv[1]) as log:
    receipt = log.append("py-1", {"type": "T", "data": {"n": None, "f": 1.0, "raw": b"\xff"}},
                         expected="no_stream")
    show("append", receipt["revisions"]["py-1"], receipt["durability"])
    event = next(log.read(stream="py-1"))
    show("data", sorted(event["data"].items()), len(event["id"]), event["meta"])
    try:
        log.append("py-1", {"type": "T"}, expected=7)
    except Error as error:
        show(error.number, str(error).partition(";")[0])
    for page in range(3):
        log.append("py-2", [{"type": "N", "data": n} for n in range(1000)])
    show("read", [event["revision"] for event in log.read(stream="py-2")] == list(range(3000)))
    show("back", [event["revision"] for event in log.read(stream="py-2", backward=True)]
         == list(range(2999, -1, -1)))
    show("some", len(list(log.read(stream="py-2", limit=1500))),
         [event["revision"] for event in log.read(stream="py-2", from_=2998)])
    try:
        next(log.read(stream="py-none"))
    except Error as error:
        show(error.code)
    seen = []
    for event in log.subscribe(stream="py-2", credit=10, timeout=5):
        seen.append(event["revision"])
        if len(seen) == 3000:
            log.append("py-2", {"type": "Live"})
        if event["type"] == "Live":
            break
    show("live", seen == list(range(3001)))
    show("quiet", list(log.subscribe(stream="py-2", after="end", timeout=0.05)))
    alerts = log.listen("py.*.saved", timeout=5)
    show("heard", log.signal("py.order.saved", {"id": 7}), log.signal("py.order"))
    signal = next(alerts)
    show(signal["subject"], signal["data"])
    alerts.close()
    try:
        log.request("py.nobody")
    except Error as error:
        show(error.number, error)
    questions = log.listen("py.sum", timeout=5)
    answers = log.listen("py.inbox", timeout=5)
    log.signal("py.sum", [1, 2], reply="py.inbox")
    question = next(questions)
    log.signal(question["reply"], sum(question["data"]))
    show("sum", next(answers)["data"])
    try:
        log.call("haed")
    except Error as error:
        show(error.code)
]==],
    walked = [==[
append 0 disk
data [('f', 1.0), ('n', None), ('raw', b'\xff')] 36 None
6 WRONG_EXPECTED_REVISION: stream py-1: expected revision 7, but it is at revision 0
read True
back True
some 1500 [2998, 2999]
NOT_FOUND
live True
quiet []
heard 1 0
py.order.saved {'id': 7}
24 NO_LISTENERS: nobody listens to py.nobody
sum 3
UNKNOWN_METHOD
]==],
    lost = [==[
import os, signal, sys
from moonlog import Client, Error

try:
    Client("/nowhere/moonlog.sock")
except Error as error:
    print(error.code, error.number)
log = Client(sys.argv[1])
alerts = log.listen("ui.*")
log.append("a-1", {"type": "T"})
try:
    for event in log.subscribe():
        print(event["type"])
        os.kill(log.call("status")["pid"], signal.SIGKILL)
except Error as error:
    print(error.code, error.number)
try:
    log.append("a-1", {"type": "T"})
except Error as error:
    print(error.code)
alerts.close()
]==],
    last = "UNREACHABLE 25\nT\nUNREACHABLE 25\nUNREACHABLE\n",
  },
  {
    name = "moonlog.js", block = "js", arrow = "// -> ", command = "node -",
    missing = not works("node -", "if (+process.versions.node.split('.')[0] < 18) process.exit(1)")
      and "needs nodejs 18",
    wrap = function(text)
      return "(async () => {" .. text
        .. "})().catch((error) => { console.error(error); process.exit(1); });"
    end,
    walk = [==[
const { Client, pack, Reader } = require("moonlog.js");
const assert = require("assert");

const values = [null, true, false, 0, 127, 128, -1, -32, -33, 65536, 2 ** 53 - 1, -(2 ** 40),
  2n ** 60n, -(2n ** 63n), 1.5, 1e300, "", "grün", "y".repeat(300), "z".repeat(70000), [], [1, [2]],
  Array(70000).fill(1), {}, { a: { b: [null] } }, Buffer.from([0, 255]), Buffer.alloc(70000)];
for (const value of values)
  assert.deepStrictEqual(new Reader(Buffer.concat(pack(value, []))).value(), value);

const log = await Client.connect(process.argv[2]);
const sent = { type: "T", data: { big: 2n ** 60n, raw: Buffer.from([255]) } };
const receipt = await log.append("js-1", sent, { expected: "no_stream" });
console.log("append", receipt.revisions["js-1"], receipt.durability);
for await (const event of log.read({ stream: "js-1" }))
  console.log(event.data, event.id.length, event.meta);
await log.append("js-1", { type: "T" }, { expected: 7 })
  .catch((error) => console.log(error.message.split(";")[0]));
for (let page = 0; page < 3; page++)
  await log.append("js-2", Array(1000).fill({ type: "N", data: "x".repeat(500) }));
const list = async (events) => {
  const revisions = [];
  for await (const event of events) revisions.push(event.revision);
  return revisions;
};
const upTo = (count) => Array.from({ length: count }, (_, n) => n);
assert.deepStrictEqual(await list(log.read({ stream: "js-2" })), upTo(3000));
const back = await list(log.read({ stream: "js-2", backward: true }));
assert.deepStrictEqual(back, upTo(3000).reverse());
assert.deepStrictEqual(await list(log.read({ stream: "js-2", limit: 1500 })), upTo(1500));
const seen = [];
for await (const event of log.subscribe({ stream: "js-2", credit: 10 })) {
  seen.push(event.revision);
  if (seen.length === 3000) log.append("js-2", { type: "Live" });
  if (event.type === "Live") break;
}
assert.deepStrictEqual(seen, upTo(3001));
const alerts = log.listen("js.*.saved"), alert = alerts.next();
console.log(await log.signal("js.order.saved", { id: 7 }), await log.signal("js.order"));
console.log((await alert).value.data);
await alerts.return();
await log.signal("js.nobody", null, "js.inbox").catch((error) => console.log(error.code));
const asked = log.listen("js.sum"), question = asked.next();
const inbox = log.listen("js.inbox"), answer = inbox.next();
await log.signal("js.sum", [1, 2], "js.inbox");
const { reply, data } = (await question).value;
await log.signal(reply, data[0] + data[1]);
console.log((await answer).value.data);
await log.call("haed").catch((error) => console.log(error.message));
log.close();
]==],
    walked = [==[
append 0 disk
{ big: 1152921504606846976n, raw: <Buffer ff> } 36 null
WRONG_EXPECTED_REVISION: stream js-1: expected revision 7, but it is at revision 0
{ listeners: 1 } { listeners: 0 }
{ id: 7 }
NO_LISTENERS
3
UNKNOWN_METHOD: there is no method haed; did you mean head?
]==],
    lost = [==[
const { Client } = require("moonlog.js");
const say = (error) => console.log(error.code);
await Client.connect("/nowhere/moonlog.sock").catch(say);
const log = await Client.connect(process.argv[2]);
const alerts = log.listen("ui.*"), alert = alerts.next();
await log.append("a-1", { type: "T" });
const follow = async () => {
  for await (const event of log.subscribe()) {
    console.log(event.type);
    process.kill((await log.call("status")).pid, "SIGKILL");
  }
};
await follow().catch(say);
await alert.catch(() => {});
await log.append("a-1", { type: "T" }).catch(say);
await alerts.return();
]==],
    last = "UNREACHABLE\nT\nUNREACHABLE\nUNREACHABLE\n",
  },
}

describe("examples/clients/README.md", function()
  it("works from top to bottom on the store that `make run` leaves", function()
    for _, language in ipairs(languages) do
      if language.missing then pending(language.missing) end
    end
    local dir = tmpdir.new() .. "/store"
    local dev = program.command { "dev", "--data", dir, "examples/bank" }
    local _, why, status = program.shell("MOONLOG_LUA=lua " .. dev)
    assert.equal(0, status, why)
    local served = daemon.start(dir)
    for _, language in ipairs(languages) do
      local script, promised = page_of(language)
      local out, err = run(language.command,
        (script:gsub("moonlog%-data/moonlog%.sock", served.socket)))
      assert.equal("", err)
      assert.equal(promised, out)
    end
    assert.equal(0, daemon.stop(served))
  end)
end)

for _, language in ipairs(languages) do
  describe("examples/clients/" .. language.name, function()
    local served

    before_each(function() served = daemon.start_tcp() end)
    after_each(function() assert.equal(0, daemon.stop(served)) end)

    it("has at most 200 lines", function()
      local _, lines = program.slurp("examples/clients/" .. language.name):gsub("\n", "")
      assert.is_true(lines <= 200)
    end)

    it("appends, reads, follows and signals", function()
      if language.missing then pending(language.missing) end
      local out, err, status = run(language.command .. " " .. program.quote(served.socket),
        language.wrap(language.walk))
      assert.equal("", err)
      assert.equal(language.walked, out)
      assert.equal(0, status)
      local log <close> = assert(m.connect(served.uri))
      assert.equal(1, log:status().connections)
    end)

    it("says UNREACHABLE when the daemon went away, and nothing else", function()
      if language.missing then pending(language.missing) end
      local own = daemon.start()
      local out, err, status = run(language.command .. " " .. program.quote(own.socket),
        language.wrap(language.lost))
      assert.equal("", err)
      assert.equal(language.last, out)
      assert.equal(0, status)
      assert.equal(9, (own:wait()))
    end)

    it("does what the README says, over either kind of socket", function()
      if language.missing then pending(language.missing) end
      local script, promised = page_of(language)
      local out, err = run(language.command,
        (script:gsub("moonlog%-data/moonlog%.sock", served.socket)))
      assert.equal("", err)
      assert.equal(promised, out)
      -- The address that stands in the comment beside it, on a daemon of its own.
      local other = daemon.start_tcp()
      local tcp = language.block == "python" and ('"127.0.0.1", %d'):format(other.port)
        or ('%d, "127.0.0.1"'):format(other.port)
      out, err = run(language.command, (script:gsub('"moonlog%-data/moonlog%.sock"', tcp)))
      daemon.stop(other)
      assert.equal("", err)
      assert.equal(promised, out)
    end)
  end)
end
