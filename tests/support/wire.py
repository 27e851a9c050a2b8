# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's protocol by hand: what no driver would send, in any pieces, and the answers as they come."""

import socket
import struct

PROTOCOL = 3 << 16
ANSWER_SECONDS_MAX = 30


class Closed(Exception):
    """The other end has closed or reset the connection."""


def frame(tag, body=b""):
    return tag + struct.pack("!i", len(body) + 4) + body


def startup(user="postgres", database="talk", protocol=PROTOCOL, **parameters):
    words = {"user": user, "database": database, **parameters}
    body = struct.pack("!i", protocol) + b"".join(f"{k}\0{v}\0".encode() for k, v in words.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def text_of(sql):
    return sql if isinstance(sql, bytes) else sql.encode()


def query(sql):
    return frame(b"Q", text_of(sql) + b"\0")


def parse(sql, name=""):
    return frame(b"P", name.encode() + b"\0" + text_of(sql) + b"\0\0\0")


def bind(name="", portal="", values=()):
    body = portal.encode() + b"\0" + name.encode() + b"\0" + struct.pack("!hh", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(text_of(value))) + text_of(value)
    return frame(b"B", body + b"\0\0")


def describe(kind, name=""):
    return frame(b"D", kind.encode() + name.encode() + b"\0")


def execute(portal="", rows=0):
    return frame(b"E", portal.encode() + b"\0" + struct.pack("!i", rows))


def close(kind, name=""):
    return frame(b"C", kind.encode() + name.encode() + b"\0")


def function_call(oid, *values):
    body = struct.pack("!ihh", oid, 0, len(values))
    for value in values:
        body += struct.pack("!i", len(value)) + value
    return frame(b"F", body + struct.pack("!h", 0))


SYNC = frame(b"S")
FLUSH = frame(b"H")
TERMINATE = frame(b"X")
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)


def extended(sql, values=()):
    return parse(sql) + bind(values=values) + describe("P") + execute() + SYNC


def fields(body):
    """Of an error or a notice."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


class Session:
    """A session of a user who is trusted. `segments`: what is sent goes in pieces of so many bytes, each a segment."""

    def __init__(self, port, host="127.0.0.1", segments=None, **start):
        self.socket = socket.create_connection((host, port), timeout=ANSWER_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.segments = segments
        self._buffer = b""
        self.socket.sendall(startup(**start))
        self.greeting = self.answers()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def send(self, data):
        if not self.segments:
            self.socket.sendall(data)
            return
        for start in range(0, len(data), self.segments):
            self.socket.sendall(data[start:start + self.segments])

    def message(self):
        head = self._exactly(5)
        return head[:1], self._exactly(struct.unpack("!i", head[1:])[0] - 4)

    def answers(self, count=1):
        """All messages up to so many ReadyForQuery."""
        found = []
        while count:
            found.append(self.message())
            count -= found[-1][0] == b"Z"
        return found

    def until_closed(self):
        found = []
        try:
            while True:
                found.append(self.message())
        except Closed:
            return found

    def ask(self, data, count=1):
        self.send(data)
        return self.answers(count)

    def _exactly(self, size):
        while len(self._buffer) < size:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionError:
                raise Closed from None
            if not part:
                raise Closed
            self._buffer += part
        part, self._buffer = self._buffer[:size], self._buffer[size:]
        return part


def shape(messages):
    """What came in which order: rows and tags as they are, of errors that they are some, of ReadyForQuery its state."""
    return [(tag.decode(), fields(body)["S"] if tag in b"EN" else body) for tag, body in messages]


def errors(messages):
    return [fields(body) for tag, body in messages if tag == b"E"]
