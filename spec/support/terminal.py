"""A terminal for specs: runs a program on a pty, types into it, and keeps the screen it draws.

    python3 terminal.py COLUMNS ROWS PROGRAM [WORD]... < steps

Steps, one a line; TEXT has Python's escapes (\\t, \\x03, \\e is written \\x1b):
    type TEXT     sends it
    paste TEXT    the same, as a terminal does: marked as pasted, if the program has asked for that
    see TEXT      waits until some row of the screen shows it
    row TEXT      waits until some row is it, and nothing else
    at TEXT       the same of the row with the cursor: before typing, that the prompt is there
    run COMMAND   runs a shell command to its end
    size C R      the window gets another size
    screen        prints the rows that are not empty
    end           waits for the program's end and prints its status
Nothing is waited for longer than PATIENCE seconds; then the screen is printed, and the exit is 1.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata

PATIENCE = 20


def width(character):
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Screen:
    """Of what a terminal can do, what libedit asks of an xterm."""

    token = re.compile(r"\x1b\[([?0-9;]*)([@-~])|\x1b[()][A-Z0-9]|\x1b[=>78]|\x1b\](?:[^\x07]*)\x07|[^\x1b]", re.S)

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column = [[]], 0, 0
        self.rest, self.pasting = "", False

    def line(self):
        while len(self.lines) <= self.row:
            self.lines.append([])
        return self.lines[self.row]

    def put(self, character):
        if self.column >= self.columns:
            self.row, self.column = self.row + 1, 0
        line = self.line()
        line.extend(" " * (self.column - len(line) + 1))
        line[self.column] = character
        self.column += width(character)

    def plain(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.row += 1
            self.line()
        elif c == "\b":
            self.column = max(0, self.column - 1)
        elif c == "\t":
            self.column = min(self.columns - 1, (self.column // 8 + 1) * 8)
        elif c >= " ":
            self.put(c)

    def control(self, given, letter):
        if letter in "hl" and given == "?2004":
            self.pasting = letter == "h"
        if given.startswith("?"):
            return
        number = int(given.split(";")[0] or 0)
        count, line = max(1, number), self.line()
        if letter == "A":
            self.row = max(0, self.row - count)
        elif letter == "B":
            self.row = min(self.row + count, len(self.lines) - 1)
        elif letter == "C":
            self.column = min(self.columns - 1, self.column + count)
        elif letter == "D":
            self.column = max(0, self.column - count)
        elif letter == "G":
            self.column = count - 1
        elif letter == "K" and number == 0:
            del line[self.column:]
        elif letter == "J" and number == 0:
            del line[self.column:]
            del self.lines[self.row + 1:]
        elif letter == "P":
            del line[self.column:self.column + count]
        elif letter == "@":
            line[self.column:self.column] = " " * count
        elif letter not in "mHJK":
            raise ValueError("unknown to this terminal: CSI %s%s" % (given, letter))

    def take(self, text):
        self.rest += text
        at = 0
        while at < len(self.rest):
            found = self.token.match(self.rest, at)
            if not found:
                break  # the beginning of a sequence
            if found.group(2):
                self.control(found.group(1), found.group(2))
            elif len(found.group(0)) == 1:
                self.plain(found.group(0))
            at = found.end()
        self.rest = self.rest[at:]

    def shown(self):
        return ["".join(line).rstrip() for line in self.lines]


class Session:
    def __init__(self, columns, rows, words):
        self.screen = Screen(columns, rows)
        self.status = None
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execvp(words[0], words)
        self.size(columns, rows)
        self.bytes = b""

    def size(self, columns, rows):
        self.screen.columns = columns
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """Takes in what comes; False at the end."""
        if not select.select([self.file], [], [], seconds)[0]:
            return True
        try:
            more = os.read(self.file, 65536)
        except OSError:
            more = b""
        self.bytes += more
        good = len(self.bytes)
        while good > 0 and good > len(self.bytes) - 4:
            try:
                self.screen.take(self.bytes[:good].decode())
                self.bytes = self.bytes[good:]
                break
            except UnicodeDecodeError:
                good -= 1
        return more != b""

    def wait(self, what, ready):
        end = time.monotonic() + PATIENCE
        going = True
        while not ready():
            if not going or time.monotonic() > end:
                self.fail("not seen" if going else "ended before", what)
            going = self.read(0.2)

    def fail(self, how, what):
        print("%s: %s" % (how, what))
        print("\n".join(self.screen.shown()))
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
        sys.exit(1)

    def see(self, text):
        self.wait(text, lambda: any(text in row for row in self.screen.shown()))

    def row(self, text):
        self.wait(text, lambda: text in self.screen.shown())

    def at(self, text):
        self.wait("the cursor at " + text, lambda: "".join(self.screen.line()).rstrip() == text)

    def type(self, text):
        data = text.encode("latin-1") if max(text, default="a") < "\x80" else text.encode()
        while data:
            data = data[os.write(self.file, data):]

    def end(self):
        deadline = time.monotonic() + PATIENCE
        while self.read(0.2) and time.monotonic() < deadline:
            pass
        if time.monotonic() >= deadline:
            self.fail("did not end", "")
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        print("status %d" % self.status)


def unescape(text):
    return re.sub(r"\\(x..|.)", lambda m: chr(int(m.group(1)[1:], 16)) if m.group(1)[0] == "x" else
                  {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[m.group(1)], text)


def main():
    session = Session(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    for step in sys.stdin.read().splitlines():
        name, _, text = step.partition(" ")
        if name == "type":
            session.type(unescape(text))
        elif name == "paste":
            marked = ("\x1b[200~", "\x1b[201~") if session.screen.pasting else ("", "")
            session.type(unescape(text).join(marked))
        elif name == "see":
            session.see(text)
        elif name == "row":
            session.row(text)
        elif name == "at":
            session.at(text)
        elif name == "run":
            subprocess.run(text, shell=True, check=True, stdout=subprocess.DEVNULL)
        elif name == "size":
            session.size(*map(int, text.split()))
        elif name == "screen":
            print("\n".join(row for row in session.screen.shown() if row))
        elif name == "end":
            session.end()
    if session.status is None:
        os.kill(session.pid, signal.SIGKILL)
        print("left running")
        sys.exit(1)


main()
