# SPDX-License-Identifier: Apache-2.0
"""Peers that break the protocol, on either side of the shim: it ends their sessions and nobody else's, keeps nothing of
them, and tells of each.
"""

import os
import socket
import struct
import time

from tests.e2e.context import require
from tests.support import hostile, wire
from tests.support.oracle import field

# What the agent may have more of when all is over: buffers that it keeps, allocators that do not give back.
RSS_GROWTH_BYTES_MAX = 64 << 20
# While one peer does not read: bounded by what the shim holds for a session, not by what the other sends.
SLOW_GROWTH_BYTES_MAX = 24 << 20
SESSION_SECONDS_MAX = 10
SETTLE_SECONDS_MAX = 20

START = wire.startup(application_name="hostile-client")
SIMPLE = wire.query("select 1")

# What a client sends; CONVERSATION goes before, up to its last ReadyForQuery, where the first item says so.
CLIENTS = {
    "nothing": (False, b""),
    "http": (False, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "length-0": (False, b"\0\0\0\0"),
    "length-7": (False, b"\0\0\0\7\0\3\0"),
    "length-negative": (False, b"\xff\xff\xff\xff\0\3\0\0"),
    "length-huge": (False, b"\x7f\xff\xff\xff\0\3\0\0" + b"x" * 100000),
    "start-of-10001": (False, struct.pack("!ii", 10001, 3 << 16) + b"a" * 9993),
    "start-without-end": (False, struct.pack("!ii", 20, 3 << 16) + b"user\0postgre"),
    "start-without-user": (False, struct.pack("!ii", 9, 3 << 16) + b"\0"),
    "start-of-2": (False, struct.pack("!ii", 9, 2 << 16) + b"\0"),
    "start-of-3.99": (False, wire.startup(protocol=(3 << 16) + 99)),
    "ssl-then-plain-in-one": (False, wire.SSL_REQUEST + START),
    "ssl-then-query-in-one": (False, wire.SSL_REQUEST + SIMPLE),
    "ssl-twice": (False, wire.SSL_REQUEST * 2),
    "ssl-many": (False, wire.SSL_REQUEST * 1000),
    "gss-many": (False, wire.GSS_REQUEST * 1000),
    "tls-garbage": (False, wire.SSL_REQUEST + b"\x16\x03\x01\x02\x00\x01" + b"\0" * 512),
    "tls-at-once-garbage": (False, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 600),
    "cancel-unknown": (False, struct.pack("!iiii", 16, 80877102, 1, 2)),
    "cancel-short": (False, struct.pack("!iii", 12, 80877102, 1)),
    "cancel-long": (False, struct.pack("!iii", 12 + 256, 80877102, 1) + b"k" * 256),
    "cancel-too-long": (False, struct.pack("!iii", 12 + 5000, 80877102, 1) + b"k" * 5000),
    "cancel-and-more": (False, struct.pack("!iiii", 16, 80877102, 1, 2) + SIMPLE),
    "start-and-query-in-one": (False, START + SIMPLE),
    "start-twice": (False, START + START),
    "query-length-3": (True, b"Q\0\0\0\3"),
    "query-length-4": (True, b"Q\0\0\0\4"),
    "query-length-negative": (True, b"Q\xff\xff\xff\xff"),
    "query-length-huge": (True, b"Q\x7f\xff\xff\xff" + b"s" * 200000),
    "query-without-nul": (True, wire.frame(b"Q", b"select 1")),
    "query-two-nuls": (True, wire.frame(b"Q", b"select 1\0select 2\0")),
    "unknown-message": (True, wire.frame(b"z", b"abc") + SIMPLE),
    "zero-message": (True, wire.frame(b"\0") + SIMPLE),
    "server-messages": (True, wire.frame(b"Z", b"I") + wire.frame(b"T", b"\0\1x") + SIMPLE),
    "password-unasked": (True, wire.frame(b"p", b"secret\0") + SIMPLE),
    "copy-data-unasked": (True, wire.frame(b"d", b"data") * 100 + SIMPLE),
    "copy-done-unasked": (True, wire.frame(b"c") + wire.frame(b"f", b"x\0") + SIMPLE),
    "bind-65535": (True, wire.parse("select 1") + wire.frame(
        b"B", b"\0\0\xff\xff" + b"\0\0" * 65535 + b"\0\0\0\0") + wire.SYNC),
    "bind-count-lies": (True, wire.parse("select 1") + wire.frame(b"B", b"\0\0\0\0\xff\xff\0\0\0\1x") + wire.SYNC),
    "bind-length-lies": (True, wire.parse("select $1::text") + wire.frame(
        b"B", b"\0\0\0\0\0\1" + struct.pack("!i", 1 << 30) + b"x\0\0") + wire.SYNC),
    "parse-types-lie": (True, wire.frame(b"P", b"\0select 1\0\xff\xff\0\0\0\1") + wire.SYNC),
    "parse-short": (True, wire.frame(b"P", b"name") + wire.SYNC),
    "describe-nothing": (True, wire.frame(b"D") + wire.frame(b"D", b"Q\0") + wire.SYNC),
    "execute-short": (True, wire.frame(b"E", b"\0\0") + wire.SYNC),
    "function-call-lies": (True, wire.frame(b"F", struct.pack("!ihh", 1397, 0, -1))),
    "many-syncs": (True, wire.SYNC * 20000),
    "many-flushes": (True, wire.FLUSH * 20000 + wire.SYNC),
    "many-parses": (True, b"".join(wire.parse("select 1", f"s{n}") for n in range(3000)) + wire.SYNC),
    "name-of-100k": (True, wire.parse("select 1", "n" * 100000) + wire.SYNC),
    "terminate-and-more": (True, wire.TERMINATE + SIMPLE * 100),
    "only-half": (True, SIMPLE[:7]),
}

CONVERSATION = (START + SIMPLE + wire.extended("select $1::text", ["value"]) + wire.query("begin; select 1 / 0")
                + wire.query("rollback") + wire.TERMINATE)


def sessions_of(stack):
    return len(os.listdir(f"/proc/{stack.agent.process.pid}/fd"))


def resident(stack):
    with open(f"/proc/{stack.agent.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


def require_serving(stack, port, what):
    require(stack.agent.is_running, f"the agent has ended: {what}")
    try:
        with wire.Session(port) as session:
            require(not wire.errors(session.ask(SIMPLE)), f"others are not served: {what}")
    except (OSError, wire.Closed) as failure:
        require(False, f"others are not served: {what}: {failure}")


def _read_all(connection, seconds):
    """Until the other end closes; False: it has not within that time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def clients(stack, port):
    """Hostile clients of a real server."""
    for name, (starts, data) in CLIENTS.items():
        with socket.create_connection(("127.0.0.1", port), SESSION_SECONDS_MAX) as connection:
            try:
                if starts:
                    connection.sendall(wire.startup(application_name=f"hostile-{name}"))
                    while not connection.recv(1 << 16).endswith(wire.frame(b"Z", b"I")):
                        pass
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it ended the session before all was said
            require(_read_all(connection, SESSION_SECONDS_MAX), f"a client that has ended is held: {name}")
        require_serving(stack, port, name)


def resets(stack, port):
    """A reset after each byte of a conversation; an orderly end after each, too."""
    for size in range(0, len(CONVERSATION) + 1):
        for linger in (hostile.RESET, None):
            with socket.create_connection(("127.0.0.1", port), SESSION_SECONDS_MAX) as connection:
                connection.sendall(CONVERSATION[:size])
                if linger:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    require_serving(stack, port, "resets")


def slow(stack, port):
    """A client that does not read a large answer, and one that writes a byte at a time."""
    before = resident(stack)
    with wire.Session(port) as session:
        session.send(wire.query("select repeat('x', 8000) from generate_series(1, 40000)"))  # 320 MB
        time.sleep(2)
        grown = resident(stack) - before
        require(grown < SLOW_GROWTH_BYTES_MAX, f"{grown >> 20} MiB for a client that does not read")
        require_serving(stack, port, "beside a client that does not read")
        rows = sum(tag == b"D" for tag, _ in session.answers())
        require(rows == 40000, f"{rows} rows of 40000")
    with wire.Session(port, segments=1) as session:
        for byte in SIMPLE:
            session.send(bytes([byte]))
            time.sleep(0.002)
        require(not wire.errors(session.answers()), "a slow writer is refused")


def servers(stack, fake_port, port):
    """Hostile servers."""
    names = [*hostile.GREETINGS, *hostile.ANSWERS, "talks-unasked", "closes-its-half", "reads-nothing", "writes-slowly",
             "answers-without-end"]
    length = len(hostile.GREETING + hostile.READY + hostile.ONE_ROW)
    names += [f"resets-after-{n}" for n in range(0, length + 1, 1)]
    before = resident(stack)
    for name in names:
        try:
            with socket.create_connection(("127.0.0.1", fake_port), SESSION_SECONDS_MAX) as connection:
                connection.sendall(wire.startup(application_name=name) + SIMPLE)
                if name == "reads-nothing":
                    connection.settimeout(1.0)
                    try:
                        connection.sendall(wire.query("select '" + "z" * (12 << 20) + "'"))
                        connection.sendall(wire.frame(b"d", b"x" * (8 << 20)) * 8)
                    except OSError:
                        pass
                    grown = resident(stack) - before
                    require(grown < 2 * SLOW_GROWTH_BYTES_MAX, f"{grown >> 20} MiB for a server that does not read")
                if name == "answers-without-end":
                    time.sleep(1)
                    grown = resident(stack) - before
                    require(grown < 2 * SLOW_GROWTH_BYTES_MAX, f"{grown >> 20} MiB of an answer that nobody reads")
                require(_read_all(connection, SESSION_SECONDS_MAX),
                        f"a session is held when its server has ended: {name}")
        except ConnectionError:
            pass
        if not name.startswith("resets"):
            require_serving(stack, port, name)
    return [n for n in names]


def require_clean(stack, port, descriptors, before):
    """Nothing is kept of sessions that have ended."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while (now := sessions_of(stack)) > descriptors and time.monotonic() < deadline:
        time.sleep(0.2)
    require(now <= descriptors, f"{now} descriptors, {descriptors} before")
    grown = resident(stack) - before
    print(f"    descriptors {descriptors} before, {now} after; resident {grown >> 20:+} MiB", flush=True)
    require(grown < RSS_GROWTH_BYTES_MAX, f"the agent has grown by {grown >> 20} MiB")
    require_serving(stack, port, "at the end")


def require_events(stack, names):
    """Each session that told its name has left a word in the record."""
    deadline = time.monotonic() + 30
    while True:
        found = {field(e, "session.application") for e in stack.collector.query()}
        missing = [n for n in names if n not in found]
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    require(not missing, f"{len(missing)} of {len(names)} sessions left no event: {missing[:10]}")


def run(stack, port, fake_port):
    for _ in range(3):
        require_serving(stack, port, "at the start")
    descriptors, before = sessions_of(stack), resident(stack)
    clients(stack, port)
    resets(stack, port)
    slow(stack, port)
    names = servers(stack, fake_port, port)
    require_clean(stack, port, descriptors, before)
    require_events(stack, names + [f"hostile-{n}" for n, (starts, _) in CLIENTS.items() if starts])
