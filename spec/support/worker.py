# worker.py -- a worker process and the daemon's end of its socket, for specs.
#
# usage: worker.py MOONLOG DATA ROLE
#
# Reads lines of JSON and prints one for each: ["call", method, arguments...] gives [error, result],
# ["tell", method, arguments...] null, ["wait", field, value] the first `progress` in which the
# field has the value, ["end"] how the process ended.
import json
import os
import socket
import sys

import msgpack

ours, theirs = socket.socketpair()
page = os.memfd_create("page")
os.ftruncate(page, 65536)
child = os.fork()
if child == 0:
    # 3 and 4 are what it is born with.
    os.dup2(theirs.fileno(), 30)
    os.dup2(page, 31)
    os.dup2(30, 3)
    os.dup2(31, 4)
    os.execv(sys.argv[1], ["moonlog", "worker", sys.argv[3], "--data", sys.argv[2]])
theirs.close()
unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
pushed, answers = [], {}


def receive():
    data = ours.recv(1 << 20)
    if not data:
        raise SystemExit("the worker has gone")
    unpacker.feed(data)
    for message in unpacker:
        if message[0] == 2:
            pushed.append(message)
        else:
            answers[message[1]] = message[2:]


def call(number, method, arguments):
    ours.sendall(msgpack.packb([0, number, method, arguments]))
    while number not in answers:
        receive()
    return answers.pop(number)


def wait(field, value):
    while True:
        while pushed:
            message = pushed.pop(0)
            if message[1] == "progress" and message[2][0].get(field) == value:
                return message[2][0]
        receive()


ours.settimeout(30)
for number, line in enumerate(sys.stdin):
    order, *rest = json.loads(line)
    if order == "call":
        print(json.dumps(call(number, rest[0], rest[1:])))
    elif order == "tell":
        ours.sendall(msgpack.packb([2, rest[0], rest[1:]]))
        print("null")
    elif order == "wait":
        print(json.dumps(wait(*rest)))
    else:
        ours.close()
        print(json.dumps(os.waitpid(child, 0)[1]))
