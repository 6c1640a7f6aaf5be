"""A client of the moonlog daemon in one file: Python's standard library and msgpack.

    from moonlog import Client, Error
    with Client("moonlog-data/moonlog.sock") as log:
        log.append("account-ada", {"type": "Deposited", "data": {"amount": 5}})
        for event in log.read(stream="account-ada"):
            print(event["revision"], event["type"], event["data"])

Blocking, one call at a time; one Client belongs to one thread. What the daemon pushes while an
answer is awaited waits in the queue of its subscription. Follow on one connection and append
large things on another.
"""
import collections
import contextlib
import socket
import uuid

import msgpack

FIELDS = ("position", "revision", "time", "stream", "type", "schema", "id", "tags", "data",
          "meta", "occurred")


class Error(Exception):
    """What was refused, or code "UNREACHABLE" and number 25: no daemon there, or it went away."""

    def __init__(self, number, text):
        super().__init__(text)
        self.number = number
        self.code = text.partition(":")[0]


@contextlib.contextmanager
def reachable():
    try:
        yield
    except (ConnectionError, FileNotFoundError) as error:
        raise Error(25, f"UNREACHABLE: {error}; connect again") from None


def event_of(row):
    event = dict(zip(FIELDS, row))
    event["id"] = str(uuid.UUID(bytes=event["id"]))
    return event


class Client(contextlib.AbstractContextManager):
    """Client("PATH/moonlog.sock"), or Client("127.0.0.1", 7070)."""

    def __init__(self, address, port=None, timeout=30.0, token=None, client="python"):
        with reachable():
            if port is None:
                self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.socket.settimeout(timeout)
                self.socket.connect(address)
            else:
                self.socket = socket.create_connection((address, port), timeout)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False,
                                         max_buffer_size=64 << 20)
        self.last_id = 0
        self.queues = {}  # of what was pushed, by subscription
        self.call("hello", client=client, events="array", **({"token": token} if token else {}))

    def close(self):
        self.socket.close()

    def __exit__(self, *error):
        self.close()

    # ---- messages -------------------------------------------------------------------------

    def _send(self, message):
        self.socket.settimeout(self.timeout)
        with reachable():
            self.socket.sendall(msgpack.packb(message))

    def _request(self, method, params):
        self.last_id += 1
        self._send([0, self.last_id, method, [params]])
        return self.last_id

    def _receive(self, timeout):
        """Gives one message; one that was pushed is also put into its queue."""
        self.socket.settimeout(timeout)
        while True:
            for message in self.unpacker:
                if message[0] == 2:
                    method, params = message[1], message[2][0]
                    queue = self.queues.get(params["subscription"])
                    if queue is not None:
                        queue.append((method, params))
                return message
            with reachable():
                more = self.socket.recv(256 << 10)
                if not more:
                    raise ConnectionError("the daemon went away")
            self.unpacker.feed(more)

    def call(self, method, **params):
        """Calls any method with its parameters; gives the result or raises Error."""
        number = self._request(method, params)
        while True:
            message = self._receive(self.timeout)
            if message[0] == 1 and message[1] == number:
                if message[2] is not None:
                    raise Error(*message[2])
                return message[3]

    # ---- events -----------------------------------------------------------------------------

    def append(self, stream, events, **options):
        """Appends one event or a list; options: expected, condition, durability."""
        events = [events] if isinstance(events, dict) else events
        return self.call("append", stream=stream, events=events, **options)

    def read(self, limit=None, **selection):
        """Yields the events of stream=, category=, query=, or all; from_=, backward=, system=."""
        if "from_" in selection:  # `from` is a word of the language
            selection["from"] = selection.pop("from_")
        head, left = None, limit
        while left != 0:
            page = self.call("read", limit=min(left or 1000, 1000), **selection)
            head = head or page["head"]
            for row in page["events"]:
                if row[0] > head:  # appended since the read began
                    return
                yield event_of(row)
            if page["end"]:
                return
            left = left and left - len(page["events"])
            selection["from"] = page["next"]

    def subscribe(self, after="start", credit=256, timeout=None, until_end=False, **selection):
        """Yields events for ever: those there are, then new ones. At most `credit` are on
        their way at once. Ends when none came for `timeout` seconds, or with `until_end`
        when it has caught up with the log."""
        opened = self.call("subscribe", after=after, credit=credit, **selection)
        pushed = self._pushed(opened["subscription"], timeout, "unsubscribe")
        return self._follow(pushed, opened["subscription"], credit, until_end)

    def _follow(self, pushed, number, credit, until_end):
        used = 0
        for method, params in pushed:
            if method == "failed":
                raise Error(0, params["error"])
            if method == "caught_up" and until_end:
                return
            for row in params.get("events", ()):
                yield event_of(row)
                used += 1
                if used * 2 >= credit:
                    self._send([2, "credit", [{"subscription": number, "events": used}]])
                    used = 0

    def _pushed(self, number, timeout, leave):
        queue = self.queues[number] = collections.deque()  # now, not at the first next()

        def generate():
            try:
                yield  # up to here it runs at once, so that it has an end whatever happens
                while True:
                    while queue:
                        yield queue.popleft()
                    try:
                        self._receive(timeout)
                    except (TimeoutError, BlockingIOError):  # of 3.10 on; 0 does not wait
                        return
            finally:  # also when the caller leaves the loop; the answer is not awaited
                del self.queues[number]
                with contextlib.suppress(Error):  # a daemon that went away knows already
                    if self.socket.fileno() >= 0:
                        self._request(leave, {"subscription": number})

        pushed = generate()
        next(pushed)
        return pushed

    # ---- signals ------------------------------------------------------------------------------

    def signal(self, subject, data=None, reply=None):
        """Tells whoever listens now; gives how many that are."""
        return self.call("signal", subject=subject, data=data, reply=reply)["listeners"]

    def listen(self, pattern, timeout=None, **options):
        """Yields signals {subject, data, reply?} whose subject matches: * is one token, > the
        rest. What was lost comes as {"missed": N}."""
        opened = self.call("listen", subject=pattern, **options)
        pushed = self._pushed(opened["subscription"], timeout, "unlisten")
        return (params for _, params in pushed)

    def request(self, subject, data=None, timeout=5.0):
        """Signals and waits for one reply; Error NO_LISTENERS at once if nobody is there."""
        inbox = "_reply." + uuid.uuid4().hex
        replies = self.listen(inbox, timeout=timeout)
        self.signal(subject, data, reply=inbox)
        for reply in replies:
            return reply["data"]
        raise TimeoutError("nobody replied to " + subject)
