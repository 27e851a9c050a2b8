#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does to a PostgreSQL session what no client library does, and says who wrote what.

usage: hard.py HOST PORT DIRECTORY    HOST: an address, or a directory (or @name) of a Unix socket

Every statement carries its tag: "/*gh:TAG*/". Prints a JSON line for each: tag, and the pid, uid and program that wrote
it.
"""

import array
import ctypes
import json
import os
import socket
import struct
import sys
import time

NOBODY = 65534
CHILDREN = 200
PYTHON = os.path.realpath("/proc/self/exe")
LIBC = ctypes.CDLL(None)
PR_SET_NAME = 15


def frame(tag, body):
    return tag + struct.pack("!i", len(body) + 4) + body


def query(tag, number=0):
    return frame(b"Q", f"select {number} /*gh:{tag}*/".encode() + b"\0")


def wrote(tag, pid=None, uid=0, exe=PYTHON, opener=None):
    print(json.dumps({"tag": tag, "pid": pid or os.getpid(), "uid": uid, "exe": exe,
                      "opener": opener or os.getpid()}), flush=True)


class Session:
    def __init__(self, host, port):
        is_unix = host[0] in "/@"
        self.socket = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET6 if ":" in host else socket.AF_INET)
        if is_unix:
            name = f"{host}/.s.PGSQL.{port}"
            self.socket.connect("\0" + name[1:] if host[0] == "@" else name)
        else:
            self.socket.connect((host, port))
        words = ("user", "app", "database", "shop", "application_name", "gh:hard")
        body = struct.pack("!i", 3 << 16) + b"".join(w.encode() + b"\0" for w in words) + b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.wait_ready()

    def exactly(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise RuntimeError("the server has closed the connection")
            data += part
        return data

    def wait_ready(self):
        """To the end of the answer; an error in it is one of ours."""
        while True:
            tag, size = struct.unpack("!ci", self.exactly(5))
            body = self.exactly(size - 4)
            if tag == b"E":
                raise RuntimeError(repr(body))
            if tag == b"Z":
                return

    def say(self, tag, how=None):
        (how or self.socket.sendall)(query(tag))
        self.wait_ready()


def in_child(body):
    """Runs it in a forked child, which must end well; its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        raise RuntimeError(f"child {pid} failed")
    return pid


def duplicated(session, _):
    copy = socket.socket(fileno=os.dup(session.socket.fileno()))
    session.say("dup", copy.sendall)
    wrote("dup")


def pages(session, directory):
    """The same statement as pages of a file, as pages of a pipe, and in many buffers."""
    path = os.path.join(directory, "statement")
    with open(path, "wb") as file:
        file.write(query("sendfile"))
    with open(path, "rb") as file:
        session.say("sendfile", lambda data: os.sendfile(session.socket.fileno(), file.fileno(), 0, len(data)))
    wrote("sendfile")
    out, into = os.pipe()

    def splice(data):
        os.write(into, data)
        os.splice(out, session.socket.fileno(), len(data))

    session.say("splice", splice)
    wrote("splice")
    session.say("writev", lambda data: os.writev(session.socket.fileno(), [bytes([b]) for b in data]))
    wrote("writev")


def passed(session, _):
    """A process of another user gets the socket, and is gone before anybody can ask who it was."""
    here, there = socket.socketpair()
    opener = os.getpid()

    def receive_and_write():
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        _, control, _, _ = there.recvmsg(1, socket.CMSG_SPACE(4))
        fd = array.array("i", control[0][2])[0]
        socket.socket(fileno=fd).sendall(query("passed"))
        wrote("passed", uid=NOBODY, opener=opener)

    here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [session.socket.fileno()]))])
    in_child(receive_and_write)
    session.wait_ready()


def changed(session, _):
    opener = os.getpid()

    def write_twice():
        session.say("as-root")
        wrote("as-root", opener=opener)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        session.say("as-nobody")
        wrote("as-nobody", uid=NOBODY, opener=opener)

    in_child(write_twice)


def children(session, _):
    opener = os.getpid()
    for number in range(CHILDREN):
        def write(tag=f"child{number}"):
            session.socket.sendall(query(tag))
            wrote(tag, opener=opener)

        in_child(write)
        session.wait_ready()


def executed(session, directory):
    """The child becomes another program, which has the socket for its standard output."""
    path = os.path.join(directory, "to-cat")
    opener = os.getpid()

    def become_cat():
        with open(path, "wb") as file:
            file.write(query("exec"))
        wrote("exec", exe=os.path.realpath("/bin/cat"), opener=opener)
        os.dup2(session.socket.fileno(), 1)
        os.execv("/bin/cat", ["postgres: checkpointer", path])

    in_child(become_cat)
    session.wait_ready()


def replaced(host, port, directory):
    """A process writes, and is another program when the answer comes."""
    def write_and_become_cat():
        session = Session(host, port)
        session.socket.sendall(frame(b"Q", b"select pg_sleep(0.7) /*gh:replaced*/\0") + frame(b"X", b""))
        wrote("replaced")
        time.sleep(0.2)  # a Unix socket tells the image that ran when the server read
        os.dup2(session.socket.fileno(), 0)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        os.execv("/bin/cat", ["cat"])  # to the server's end

    in_child(write_and_become_cat)


def renamed(session, _):
    LIBC.prctl(PR_SET_NAME, b"postgres", 0, 0, 0)
    session.say("renamed")
    wrote("renamed")


def pid_used_again(session, _):
    """Two processes, one after the other, with one pid."""
    opener = os.getpid()
    first = in_child(lambda: (session.say("life1"), wrote("life1", opener=opener)))
    for _ in range(1000):
        with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as last:
            last.write(str(first - 1))
        pid = os.fork()
        if pid == 0:
            if os.getpid() == first:
                session.socket.sendall(query("life2"))
                wrote("life2", opener=opener)
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        if pid == first:
            session.wait_ready()
            return
    raise RuntimeError("no process got the pid again")


def main():
    host, port, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    for act in (duplicated, pages, passed, changed, children, executed, pid_used_again, renamed):
        session = Session(host, port)
        act(session, directory)
        session.socket.sendall(frame(b"X", b""))
        session.socket.close()
    replaced(host, port, directory)


if __name__ == "__main__":
    main()
