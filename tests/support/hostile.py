# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server that is not one: it greets, and then does to a client what the client's application name says."""

import socket
import struct
import threading
import time

from tests.support.wire import frame

GREETING = (frame(b"R", struct.pack("!i", 0)) + frame(b"S", b"server_version\x0015.0\0") +
            frame(b"S", b"client_encoding\0UTF8\0") + frame(b"K", struct.pack("!ii", 4711, 1234)))
READY = frame(b"Z", b"I")
COLUMN = b"c\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
ONE_ROW = (frame(b"T", struct.pack("!h", 1) + COLUMN) + frame(b"D", struct.pack("!hi", 1, 1) + b"x") +
           frame(b"C", b"SELECT 1\0") + READY)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset

# Instead of the greeting.
GREETINGS = {
    "closes": b"",
    "greets-with-garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "greets-with-length-0": b"R\0\0\0\0",
    "greets-with-length-negative": b"R\xff\xff\xff\xff",
    "greets-with-length-huge": b"R\x7f\xff\xff\xff" + b"x" * 100000,
    "greets-with-rows": ONE_ROW,
    "greets-with-unknown-authentication": frame(b"R", struct.pack("!i", 99)),
    "greets-with-short-authentication": frame(b"R", b"\0"),
    "greets-with-two-keys": GREETING + frame(b"K", struct.pack("!ii", 1, 2)) + READY,
    "greets-with-long-key": frame(b"R", struct.pack("!i", 0)) + frame(b"K", b"k" * 5000) + READY,
    "greets-with-bad-version": frame(b"v", struct.pack("!ii", 9 << 16, -1)) + GREETING + READY,
    "greets-many-times": (GREETING + READY) * 50,
}

# Instead of an answer to the first statement.
ANSWERS = {
    "tells-garbage": bytes(range(256)) * 4,
    "tells-length-3": b"D\0\0\0\3abc",
    "tells-length-negative": b"C\x80\0\0\0",
    "tells-length-huge": b"D\x7f\xff\xff\xf0" + b"x" * (1 << 20),
    "tells-65535-columns": frame(b"T", b"\xff\xff" + COLUMN * 10) + READY,
    "tells-all-65535-columns": frame(b"T", b"\xff\xff" + COLUMN * 65535) + READY,
    "tells-row-of-65535": frame(b"T", struct.pack("!h", 1) + COLUMN) + frame(
        b"D", b"\xff\xff" + struct.pack("!i", -1) * 65535) + frame(b"C", b"SELECT 1\0") + READY,
    "tells-value-longer-than-row": frame(b"D", struct.pack("!hi", 1, 1 << 30)) + READY,
    "tells-value-of-negative-length": frame(b"D", struct.pack("!hi", 1, -7)) + READY,
    "tells-ready-often": READY * 1000,
    "tells-unasked-answers": ONE_ROW * 100,
    "tells-unasked-parse-complete": frame(b"1") * 100 + frame(b"2") * 100 + READY,
    "tells-copy-in": frame(b"G", struct.pack("!bhh", 0, 1, 0)) + READY,
    "tells-copy-both": frame(b"W", struct.pack("!bh", 0, 0)) + frame(b"d", b"w" * 100) + READY,
    "tells-copy-end": frame(b"c") * 10 + READY,
    "tells-authentication": frame(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0") + READY,
    "tells-negotiation": frame(b"v", struct.pack("!ii", 3 << 16, 1000000)) + READY,
    "tells-unended-error": frame(b"E", b"SERROR\0C42601") + READY,
    "tells-empty-error": frame(b"E") + frame(b"E", b"\0") + READY,
    "tells-long-error": frame(b"E", b"SERROR\0C42601\0M" + b"m" * (3 << 20) + b"\0\0") + READY,
    "tells-many-notices": frame(b"N", b"SNOTICE\0C00000\0Mn\0\0") * 50000 + ONE_ROW,
    "tells-many-parameters": b"".join(frame(b"S", f"p{n}\0v\0".encode()) for n in range(20000)) + ONE_ROW,
    "tells-parameter-without-value": frame(b"S", b"client_encoding") + ONE_ROW,
    "tells-strange-encoding": frame(b"S", b"client_encoding\0KLINGON\0") + ONE_ROW,
    "tells-bad-ready": frame(b"Z", b"Q") + frame(b"Z") + ONE_ROW,
    "tells-notifications": frame(b"A", struct.pack("!i", 1) + b"c\0") * 1000 + ONE_ROW,
    "tells-ssl-answer": b"S" * 10,
    "tells-client-messages": frame(b"Q", b"drop table x\0") + frame(b"P", b"\0\0\0\0") + READY,
    "tells-half": ONE_ROW[:20],
}


class Server:
    """Behaves by the client's application_name; `resets-after-N`: N bytes of greeting and answer, then a reset."""

    def __init__(self, port):
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            connection.settimeout(30)
            try:
                self._behave(connection)
            except OSError:
                pass

    def _behave(self, connection):
        data = connection.recv(1 << 16)
        words = data[8:].split(b"\0")
        named = dict(zip(words[::2], words[1::2]))
        name = named.get(b"application_name", b"").decode()
        if name.startswith("resets-after-"):
            connection.sendall((GREETING + READY + ONE_ROW)[:int(name.rsplit("-", 1)[1])])
            time.sleep(0.02)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return
        if name in GREETINGS:
            connection.sendall(GREETINGS[name])
            drain(connection, 0.3)
            return
        connection.sendall(GREETING + READY)
        if name == "talks-unasked":
            connection.sendall(ONE_ROW * 3)
        if name == "closes-its-half":
            connection.shutdown(socket.SHUT_WR)
            drain(connection, 2)
            return
        if name == "reads-nothing":
            time.sleep(3)
            return
        if name == "writes-slowly":
            connection.recv(1 << 16)
            for byte in ONE_ROW:
                connection.sendall(bytes([byte]))
                time.sleep(0.005)
            drain(connection, 0.3)
            return
        if name == "answers-without-end":
            connection.recv(1 << 16)
            row = frame(b"D", struct.pack("!hi", 1, 8000) + b"x" * 8000)
            connection.sendall(frame(b"T", struct.pack("!h", 1) + COLUMN))
            for _ in range(4000):
                connection.sendall(row)
            return
        connection.recv(1 << 16)
        connection.sendall(ANSWERS.get(name, ONE_ROW))
        drain(connection, 0.3)


def drain(connection, seconds):
    """Reads until the other end closes or falls silent."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except OSError:
        pass
