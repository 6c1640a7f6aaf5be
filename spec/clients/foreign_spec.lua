-- Clients that other people wrote, unmodified: msgpack-rpc is all they know of the daemon.
local m = require "moonlog"
local daemon = require "spec.support.daemon"
local program = require "spec.support.program"

local PYTHON = "/usr/bin/python3" -- Debian's, which sees Debian's packages

local function run(command, script)
  return program.shell("env -u LD_PRELOAD " .. command, script)
end

local function works(command, script)
  local _, _, status = run(command, script)
  return status == 0
end

local CONFLICT = "WRONG_EXPECTED_REVISION: stream order-1: expected revision 7, but it is at "
  .. "revision 0; read it again and decide anew"

describe("clients/foreign", function()
  local served, log

  before_each(function()
    served = daemon.start()
    log = assert(m.connect(served.uri))
  end)
  after_each(function()
    log:close()
    assert.equal(0, daemon.stop(served))
  end)

  --- What the client did has to be in the log, and the daemon as well as before.
  local function check_log(...)
    local types = {}
    for event in log:read "order-1" do types[#types + 1] = event.type end
    assert.same({ ... }, types)
    assert.equal(1, log:status().connections)
  end

  it("pynvim: request, error, pushed events", function()
    if not works(PYTHON .. " -", "import pynvim.msgpack_rpc") then
      pending "needs python3-pynvim"
    end
    local out, err, status = run(PYTHON .. " - " .. program.quote(served.socket), [==[
import sys
from pynvim.msgpack_rpc import socket_session

session = socket_session(sys.argv[1])
session.error_wrapper = lambda error: Exception(error[1])
events = [{"type": "Placed", "data": {"n": 1}}]
print(session.request("append", {"stream": "order-1", "events": events})["last"])
try:
    session.request("append", {"stream": "order-1", "events": [{"type": "Lost"}], "expected": 7})
except Exception as error:
    print(error)
print(session.request("head"))
number = session.request("subscribe", {"after": "start"})["subscription"]
kind, name, arguments = session.next_message()
print(kind, name, arguments[0]["subscription"] == number)
event = arguments[0]["events"][0]
print(event["type"], event["data"], len(event["id"]))
print(session.next_message()[1])
session.request("append", {"stream": "order-1", "events": [{"type": "Paid"}]})
print(session.next_message()[2][0]["events"][0]["type"])
session.request("listen", {"subject": "ui.>"})
session.request("signal", {"subject": "ui.alert", "data": 7}, async_=True)
while True:
    kind, name, arguments = session.next_message()
    if name == "signal":
        print(arguments[0]["subject"], arguments[0]["data"])
        break
session.close()
]==])
    assert.equal("1\n" .. CONFLICT .. "\n{'position': 1}\n"
      .. "notification event True\nPlaced {'n': 1} 16\ncaught_up\nPaid\nui.alert 7\n", out, err)
    assert.equal(0, status)
    check_log("Placed", "Paid")
  end)

  -- Of an error Neovim shows the text only if its number is 0 or 1, its own two kinds.
  it("Neovim: rpcrequest, its errors, and pushes that it does not know", function()
    if not works "nvim --version" then pending "needs neovim" end
    local out, err, status = run("nvim --headless --clean -c "
      .. program.quote("lua dofile('/dev/stdin')") .. " -c qa! 2>&1", ([==[
local channel = vim.fn.sockconnect("pipe", "%s", { rpc = true })
local function call(...) return vim.fn.rpcrequest(channel, ...) end
local function say(...)
  for _, word in ipairs { ... } do io.stdout:write(tostring(word), " ") end
  io.stdout:write "\n"
end
say(call("append", { stream = "order-1", events = { { type = "Placed", data = { n = 1 } } } }).last)
say(pcall(call, "append", { stream = "order-1", expected = 7, events = { { type = "Lost" } } }))
say(pcall(call, "append", { stream = "order-1", evnts = {} }))
say(call("read", { stream = "order-1" }).events[1].type)
call("subscribe", { after = "start" })
for n = 1, 20 do
  vim.fn.rpcnotify(channel, "append", { stream = "order-1", events = { { type = "Told" } } })
end
say(call("append", { stream = "order-1", events = { { type = "Told" } } }).last)
]==]):format(served.socket))
    assert.equal(0, status, out .. err)
    assert.match("^1 \nfalse Vim:Error invoking 'append' on channel %d+:\nunknown error \n"
      .. "false Vim:Error invoking 'append' on channel %d+:\nBAD_REQUEST: append has no parameter "
      .. "evnts; did you mean events%? \nPlaced \n22 \n", out)
    local types = { "Placed" }
    for n = 1, 21 do types[n + 1] = "Told" end
    check_log(table.unpack(types))
  end)

  it("the npm package neovim: request, error, pushed events", function()
    if not works("node -", "require('neovim/lib/utils/transport')") then
      pending "needs the npm package neovim, on NODE_PATH"
    end
    local out, err, status = run("node - " .. program.quote(served.socket), [==[
const { Transport } = require("neovim/lib/utils/transport");
const net = require("net");
const socket = net.connect(process.argv[2]);
const transport = new Transport();
const call = (method, params) => new Promise((resolve, reject) =>
  transport.request(method, [params], (error, result) =>
    error ? reject(error) : resolve(result)));
const pushed = [], events = () => pushed.filter(([name]) => name === "event");
transport.on("notification", (name, [params]) => pushed.push([name, params]));
transport.attach(socket, socket, {});
(async () => {
  const placed = [{ type: "Placed", data: { n: 1 } }];
  console.log((await call("append", { stream: "order-1", events: placed })).last);
  await call("append", { stream: "order-1", events: [{ type: "Lost" }], expected: 7 })
    .catch((error) => console.log(error[1]));
  await call("subscribe", { after: "start" });
  while (events().length < 1) await new Promise(setImmediate);
  console.log(events()[0][1].events[0].type, events()[0][1].events[0].data);
  await call("append", { stream: "order-1", events: [{ type: "Paid" }] });
  while (events().length < 2) await new Promise(setImmediate);
  console.log(events()[1][1].events[0].type);
  socket.end();
})();
]==])
    assert.equal("1\n" .. CONFLICT .. "\nPlaced { n: 1 }\nPaid\n", out, err)
    assert.equal(0, status, err)
    check_log("Placed", "Paid")
  end)
end)
