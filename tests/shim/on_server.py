#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A worker of the shim between real clients and real servers, releasing everything.

Beside each check that a session works stands what it must not have cost: the record in order and complete, bytes that
wait bounded, every session gone at the end.

usage: on_server.py STAND [--ports BASE] [unittest's arguments]
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import psycopg2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.support import postgres  # noqa: E402

STAND = None
PORTS = 26400
HELD_BYTES_MAX = 4 << 20  # per direction of a session: its buffer and what one read may add
SETTLE_SECONDS = 60  # a backend's start and end take their time where there are many
IDLE = int(os.environ.get("GATEHOUSE_IDLE_SESSIONS", "200"))
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)
USER = "shim"
PASSWORD = "a password of these tests"


def startup(user=USER, database="postgres", minor=0):
    body = struct.pack("!HH", 3, minor) + b"".join(
        word.encode() + b"\0" for word in ("user", user, "database", database)) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def message(tag, body=b""):
    return tag + struct.pack("!I", len(body) + 4) + body


def query(text):
    return message(b"Q", text.encode() + b"\0")


TERMINATE = message(b"X")


def read_to_end(sock):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def read_until(sock, wanted, data=b""):
    while wanted not in data:
        piece = sock.recv(65536)
        if not piece:
            raise AssertionError(f"ended before {wanted!r}: {data[-300:]!r}")
        data += piece
    return data


READY = b"Z\0\0\0\5I"
LINES = [bytes([65 + i]) * 999 + b"\n" for i in range(26)]


class Stand:
    """worker_stand as a child."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([STAND, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"worker_stand: {line}{self.process.stderr.read()}")
        threading.Thread(target=shutil.copyfileobj, args=(self.process.stderr, sys.stderr), daemon=True).start()

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def tell(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    @property
    def counters(self):
        return self.ask("counters")

    def settled(self):
        """Counters once no session is left."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (counters := self.counters)["sessions"] > 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"sessions remain: {counters}")
            time.sleep(0.05)
        return counters

    def close(self):
        output, _ = self.process.communicate(timeout=30)
        if self.process.returncode != 0:
            raise AssertionError(f"worker_stand ended with {self.process.returncode}: {output}")


def make_certificate(folder, name, authority=None):
    """A key and a certificate for localhost; self-signed unless an authority is given."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    signer = ["-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key"] if authority else []
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate,
                    *signer], check=True, capture_output=True)
    return certificate, key


HBA = ["local all all peer map=who", "hostssl all plus all scram-sha-256", "host all plain 127.0.0.1/32 scram-sha-256",
       "host all all 127.0.0.1/32 trust", "host all all ::1/128 trust"]


@functools.cache
def world():
    """Servers and certificates that all tests share, and the worker before them."""
    return World()


class World:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gatehouse-shim-"))
        os.chmod(self.folder, 0o755)
        self.certificate, self.key = make_certificate(self.folder, "server")
        self.other_certificate, self.other_key = make_certificate(self.folder, "other")
        self.servers = {}
        self.stand = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        for index, version in enumerate((15, 18)):
            self._server(version, PORTS + index)
        self.ports = {15: PORTS + 10, 18: PORTS + 11}
        self.socket_dir = self.folder / "sockets"
        self.socket_dir.mkdir()
        self.unix = self.socket_dir / f".s.PGSQL.{PORTS + 10}"
        self.stand = Stand("--certificate", self.certificate, "--key", self.key,
                           *(f"{self.ports[v]}={s.port}" for v, s in self.servers.items()),
                           f"{self.unix}={self.servers[15].socket_path}")

    def _server(self, version, port):
        server = postgres.Postgres(version, self.folder / str(version), port, hba=HBA,
                                   settings={"ssl": "off", "max_connections": IDLE + 100, "shared_buffers": "64MB"})
        server.hba = ["local all all trust", *HBA]  # until the map is there
        self.servers[version] = server.start()
        for name, file in (("server.crt", self.certificate), ("server.key", self.key)):
            shutil.copy(file, server.data / name)
            shutil.chown(server.data / name, postgres.SERVER_USER, postgres.SERVER_USER)
            os.chmod(server.data / name, 0o600)
        server.psql(f"create role {USER} superuser login")
        for role in ("plus", "plain", "nobody"):
            server.psql(f"create role {role} superuser login password '{PASSWORD}'")
        server.psql("alter system set ssl = on")
        (server.data / "pg_ident.conf").write_text("who root postgres\nwho /^(.*)$ \\1\n")
        server.psql("select pg_reload_conf()")
        (server.data / "pg_hba.conf").write_text("\n".join(HBA) + "\n")
        server.psql("select pg_reload_conf()")
        time.sleep(0.5)

    def close(self):
        try:
            if self.stand:
                self.stand.settled()
                self.stand.close()
        finally:
            for server in self.servers.values():
                server.close()
            shutil.rmtree(self.folder)


def tearDownModule():  # pylint: disable=invalid-name
    if world.cache_info().currsize:
        world().close()


def connect(to=None, **options):
    return psycopg2.connect(**{"host": "127.0.0.1", "port": to or world().ports[15], "user": USER,
                               "dbname": "postgres", "sslmode": "disable", "gssencmode": "disable", **options})


def raw(port=None):
    sock = socket.create_connection(("127.0.0.1", port or world().ports[15]), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def tls(sock, alpn=None):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context.wrap_socket(sock, server_hostname="localhost")


def ask(session, text):
    with session.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


class Connecting(unittest.TestCase):
    def test_ways_in(self):
        for version in (15, 18):
            for sslmode, is_tls in (("disable", False), ("allow", False), ("prefer", True), ("require", True),
                                    ("verify-ca", True), ("verify-full", True)):
                for gssencmode in ("disable", "prefer"):
                    with self.subTest(version=version, sslmode=sslmode, gssencmode=gssencmode):
                        session = connect(world().ports[version], sslmode=sslmode, gssencmode=gssencmode,
                                          sslrootcert=str(world().certificate))
                        self.assertEqual(ask(session, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"),
                                         is_tls)
                        session.close()

    def test_channel_binding_holds(self):
        for version in (15, 18):
            session = connect(world().ports[version], user="plus", password=PASSWORD, sslmode="require",
                              channel_binding="require")
            self.assertEqual(ask(session, "select 7"), 7)
            session.close()

    def test_password_in_the_clear(self):
        for binding in ("disable", "prefer"):
            session = connect(user="plain", password=PASSWORD, channel_binding=binding)
            self.assertEqual(ask(session, "select 7"), 7)
            session.close()
        with self.assertRaisesRegex(psycopg2.OperationalError, "password authentication failed"):
            connect(user="plain", password="wrong")

    def test_gss_first_then_plain(self):
        with raw() as sock:
            sock.sendall(GSS_REQUEST)
            self.assertEqual(sock.recv(1), b"N")
            sock.sendall(startup())
            read_until(sock, READY)
            sock.sendall(TERMINATE)
            self.assertEqual(read_to_end(sock), b"")

    def test_gss_first_then_tls(self):
        with raw() as sock:
            sock.sendall(GSS_REQUEST)
            self.assertEqual(sock.recv(1), b"N")
            sock.sendall(SSL_REQUEST)
            self.assertEqual(sock.recv(1), b"S")
            inner = tls(sock)
            inner.sendall(startup())
            read_until(inner, READY)
            inner.close()

    def test_each_request_once(self):
        with raw() as sock:
            sock.sendall(GSS_REQUEST)
            self.assertEqual(sock.recv(1), b"N")
            sock.sendall(GSS_REQUEST)
            self.assertIn(b"C0A000\0", read_to_end(sock))
        with raw() as sock:
            sock.sendall(SSL_REQUEST)
            self.assertEqual(sock.recv(1), b"S")
            inner = tls(sock)
            inner.sendall(SSL_REQUEST)
            self.assertIn(b"C0A000\0", read_to_end(inner))

    def test_plaintext_behind_an_encryption_request(self):
        for request in (SSL_REQUEST, GSS_REQUEST):
            with raw() as sock:
                sock.sendall(request + startup())
                answer = read_to_end(sock)
                self.assertTrue(answer.startswith(b"E"), answer)
                self.assertIn(b"C08P01\0Mreceived unencrypted data after", answer)

    def test_direct_tls(self):
        port = world().ports[18]
        inner = tls(raw(port), ["postgresql"])
        self.assertEqual(inner.selected_alpn_protocol(), "postgresql")
        inner.sendall(startup())
        read_until(inner, READY)
        inner.sendall(query("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))
        self.assertIn(b"\0\0\0\1t", read_until(inner, READY))
        inner.close()
        for alpn in (None, ["http/1.1"]):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                inner = tls(raw(port), alpn)
                inner.sendall(startup())
                if not read_to_end(inner):
                    raise ConnectionError

    def test_unix_and_peer(self):
        for uid, name in ((0, "postgres"), (65534, "nobody")):
            done = subprocess.run(
                ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", postgres.PSQL, "-XAt", "-h",
                 world().socket_dir, "-p", str(PORTS + 10), "-U", name, "-d", "postgres", "-c",
                 "select current_user"], capture_output=True, text=True, check=False)
            self.assertEqual(done.stdout, f"{name}\n", done.stderr)
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", postgres.PSQL, "-XAt", "-h",
             world().socket_dir, "-p", str(PORTS + 10), "-U", USER, "-d", "postgres", "-c", "select 1"],
            capture_output=True, text=True, check=False)
        self.assertIn("Peer authentication failed", done.stderr)
        mine = [s for s in world().stand.ask("sessions") if s["transport"] == 2]
        self.assertEqual([s["uid"] for s in mine[-3:]], [0, 65534, 65534])
        self.assertTrue(all(s["pid"] > 0 and s["start_ns"] > 0 for s in mine))

    def test_folder_that_is_closed_to_the_client(self):
        folder = world().servers[15].socket_dir
        os.chmod(folder, 0o700)
        try:
            done = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", postgres.PSQL, "-XAt", "-h",
                 world().socket_dir, "-p", str(PORTS + 10), "-U", "nobody", "-d", "postgres", "-c", "select 1"],
                capture_output=True, text=True, check=False)
        finally:
            os.chmod(folder, 0o755)
        self.assertIn("Permission denied", done.stderr)

    def test_protocol_3_2(self):
        with raw(world().ports[18]) as sock:
            sock.sendall(startup(minor=2))
            data = read_until(sock, READY)
            key = data[data.index(b"K\0\0"):]
            self.assertEqual(struct.unpack("!I", key[1:5])[0], 4 + 4 + 32)

    def test_garbage(self):
        before = world().stand.counters["refused_startups"]
        for bytes_ in (b"\0\0\0\3xxxx", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 40):
            with raw() as sock:
                sock.sendall(bytes_)
                self.assertEqual(read_to_end(sock), b"")
        self.assertEqual(world().stand.counters["refused_startups"], before + 3)


class Cancelling(unittest.TestCase):
    def _cancel(self, session):
        with session.cursor() as cursor:
            timer = threading.Timer(0.5, session.cancel)
            timer.start()
            with self.assertRaises(psycopg2.errors.QueryCanceled):
                cursor.execute("select pg_sleep(30)")
            timer.join()
        session.rollback()
        self.assertEqual(ask(session, "select 1"), 1)
        session.close()

    def test_plain(self):
        before = world().stand.counters["cancels"]
        self._cancel(connect())
        self.assertEqual(world().stand.counters["cancels"], before + 1)

    def _raw_cancel(self, version, minor, is_tls):
        sessions = [raw(world().ports[version]) for _ in range(2)]
        if is_tls:
            for i, sock in enumerate(sessions):
                sock.sendall(SSL_REQUEST)
                self.assertEqual(sock.recv(1), b"S")
                sessions[i] = tls(sock)
        sock, canceller = sessions
        sock.sendall(startup(minor=minor))
        data = read_until(sock, READY)
        key = data[data.index(b"K\0\0\0"):]
        key = key[5:1 + struct.unpack("!I", key[1:5])[0]]
        sock.sendall(query("select pg_sleep(30)"))
        time.sleep(0.3)
        canceller.sendall(struct.pack("!II", len(key) + 8, 80877102) + key)
        self.assertEqual(read_to_end(canceller), b"")
        self.assertIn(b"C57014\0", read_until(sock, READY))
        for each in sessions:
            each.close()

    def test_raw(self):
        for version, minor in ((15, 0), (18, 0), (18, 2)):
            for is_tls in (False, True):
                with self.subTest(version=version, minor=minor, tls=is_tls):
                    self._raw_cancel(version, minor, is_tls)


class Moving(unittest.TestCase):
    ROWS = 200_000  # of 1000 bytes

    def _copy_out(self, slow, **options):
        text = f"copy (select repeat(chr(65 + i % 26), 999) from generate_series(1, {self.ROWS}) i) to stdout"

        class Sink:
            def __init__(self):
                self.bytes, self.digest = 0, hashlib.md5()

            def write(self, data):
                if slow and self.bytes == 0:
                    time.sleep(2)
                self.bytes += len(data)
                self.digest.update(data)
        session, sink = connect(**options), Sink()
        with session.cursor() as cursor:
            cursor.copy_expert(text, sink)
        session.close()
        self.assertEqual(sink.bytes, self.ROWS * 1000)
        wanted = hashlib.md5()
        for i in range(1, self.ROWS + 1):
            wanted.update(LINES[i % 26])
        self.assertEqual(sink.digest.digest(), wanted.digest())

    def test_copy_out(self):
        self._copy_out(True)
        self._copy_out(False, sslmode="require")
        self.assertLess(world().stand.counters["held_bytes_max"], HELD_BYTES_MAX)

    def test_copy_in(self):
        class Source:
            def __init__(self, rows):
                self.left = rows

            def read(self, size):
                rows = min(max(size // 1000, 1), self.left)
                self.left -= rows
                return (b"y" * 999 + b"\n") * rows
        for options in ({}, {"sslmode": "require"}):
            session = connect(**options)
            with session.cursor() as cursor:
                cursor.execute("create temp table t (x text)")
                cursor.execute("create function pg_temp.slow() returns trigger language plpgsql as "
                               "$$ begin perform pg_sleep(1); return new; end $$")
                cursor.execute("create trigger slow before insert on t for each statement "
                               "execute function pg_temp.slow()")
                cursor.copy_expert("copy t from stdin", Source(self.ROWS))
                cursor.execute("select count(*) from t where length(x) = 999")
                self.assertEqual(cursor.fetchone()[0], self.ROWS)
            session.close()
        self.assertLess(world().stand.counters["held_bytes_max"], HELD_BYTES_MAX)

    def test_a_reader_that_never_reads(self):
        with raw() as sock:
            sock.sendall(startup())
            read_until(sock, READY)
            sock.sendall(query("select repeat('x', 1000) from generate_series(1, 200000)"))
            time.sleep(2)
            self.assertLess(world().stand.counters["held_bytes"], HELD_BYTES_MAX)
        world().stand.settled()

    def test_congested(self):
        session = connect()
        world().stand.tell("congest")
        try:
            with raw() as sock:
                sock.sendall(startup())
                sock.settimeout(1)
                data = b""
                with contextlib.suppress(TimeoutError):
                    data = read_until(sock, READY)
                self.assertEqual(data, b"")
                world().stand.tell("relieve")
                sock.settimeout(20)
                read_until(sock, READY)
        finally:
            world().stand.tell("relieve")
        self.assertEqual(ask(session, "select 1"), 1)
        session.close()

    def test_many_idle(self):
        before = world().stand.counters
        socks = [raw() for _ in range(IDLE)]
        for sock in socks:
            sock.sendall(startup())
        for sock in socks:
            read_until(sock, READY)
        now = world().stand.counters
        self.assertEqual(now["sessions"], before["sessions"] + IDLE)
        self.assertEqual(now["held_bytes"], 0)
        for sock in socks:
            sock.sendall(TERMINATE)
            sock.close()
        world().stand.settled()


class Ending(unittest.TestCase):
    @staticmethod
    def _backends():
        session = connect(world().servers[15].port)
        try:
            return ask(session, "select count(*) from pg_stat_activity where backend_type = 'client backend' "
                       "and pid <> pg_backend_pid()")
        finally:
            session.close()

    def tearDown(self):
        world().stand.settled()
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._backends() > 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self._backends(), 0)

    def test_half_close(self):
        for is_tls in (False, True):
            sock = raw()
            sock.sendall(startup())
            read_until(sock, READY)
            sock.sendall(query("select pg_sleep(0.5), repeat('z', 5000000)") + TERMINATE)
            sock.shutdown(socket.SHUT_WR)
            data = read_to_end(sock)
            self.assertGreater(len(data), 5000000)
            self.assertTrue(data.endswith(READY))
            sock.close()

    def test_statement_and_gone(self):
        session = connect(world().servers[15].port)
        with session.cursor() as cursor:
            cursor.execute("create table if not exists kept (i int); truncate kept")
        session.commit()
        for i in range(20):
            sock = raw()
            sock.sendall(startup())
            read_until(sock, READY)
            sock.sendall(query(f"insert into kept values ({i})") + TERMINATE)
            sock.close()
        world().stand.settled()
        deadline = time.monotonic() + SETTLE_SECONDS
        while ask(session, "select count(*) from kept") < 20 and time.monotonic() < deadline:
            session.commit()
            time.sleep(0.1)
        self.assertEqual(ask(session, "select count(*) from kept"), 20)
        session.close()

    def test_the_servers_last_words(self):
        heard = []
        for port in (world().servers[15].port, world().ports[15]):
            with raw(port) as sock:
                sock.sendall(startup())
                data = read_until(sock, READY)
                pid = struct.unpack("!I", data[data.index(b"K\0\0\0\x0c") + 5:][:4])[0]
                os.kill(pid, signal.SIGTERM)
                heard.append(read_to_end(sock))
        self.assertIn(b"C57P01\0", heard[0])
        self.assertEqual(*heard)

    def test_fatal_before_ready(self):
        with self.assertRaisesRegex(psycopg2.OperationalError, "does not exist"):
            connect(dbname="no such database")
        with self.assertRaisesRegex(psycopg2.OperationalError, "does not exist"):
            connect(dbname="no such database", sslmode="require")

    def test_reset_at_every_byte(self):
        words = startup() + query("select 1") + message(b"P", b"\0select 2\0\0\0") + message(b"S") + TERMINATE
        for tls_too in (False, True):
            for size in range(0, len(words), 1 if not tls_too else 7):
                sock = raw()
                if tls_too:
                    sock.sendall(SSL_REQUEST)
                    self.assertEqual(sock.recv(1), b"S")
                    sock = tls(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(words[:size])
                if size % 3 == 0:
                    time.sleep(0.005)
                sock.close()

    def test_backend_killed(self):
        session = connect()
        pid = ask(session, "select pg_backend_pid()")
        os.kill(pid, signal.SIGKILL)
        time.sleep(2)  # the server restarts
        with self.assertRaises(psycopg2.OperationalError):
            ask(session, "select 1")


class Verifying(unittest.TestCase):
    """Workers of their own, before a server whose certificate they may not like."""

    @contextlib.contextmanager
    def _stand(self, *arguments, server=None):
        stand = Stand(*arguments, f"{PORTS + 20}={server or world().servers[15].port}")
        try:
            yield stand
        finally:
            stand.close()

    def test_another_certificate(self):
        with self._stand("--certificate", world().other_certificate, "--key", world().other_key) as stand:
            with self.assertRaisesRegex(psycopg2.OperationalError, "certificate is not the one"):
                connect(PORTS + 20, sslmode="require")
            self.assertEqual(stand.counters["tls_failed"], 1)
            self.assertEqual(ask(connect(PORTS + 20), "select 1"), 1)

    def test_by_root_and_name(self):
        own = ("--certificate", world().other_certificate, "--key", world().other_key)
        for root, name, refusal in ((world().certificate, "localhost", None), (world().certificate, "127.0.0.1", None),
                                    (world().certificate, "elsewhere", "mismatch"),
                                    (world().other_certificate, "localhost", "cannot be verified")):
            with self.subTest(root=root, name=name), self._stand(*own, "--root", root, "--name", name):
                if refusal is None:
                    self.assertEqual(ask(connect(PORTS + 20, sslmode="require"), "select 1"), 1)
                    continue
                with self.assertRaisesRegex(psycopg2.OperationalError, refusal):
                    connect(PORTS + 20, sslmode="require")

    def test_a_server_without_tls(self):
        server = world().servers[15]
        session = connect(server.port)
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("alter system set ssl = off")
            cursor.execute("select pg_reload_conf()")
        time.sleep(0.5)
        try:
            with self.assertRaisesRegex(psycopg2.OperationalError, "does not accept TLS"):
                connect(sslmode="require")
            self.assertEqual(ask(connect(), "select 1"), 1)
        finally:
            with session.cursor() as cursor:
                cursor.execute("alter system set ssl = on")
                cursor.execute("select pg_reload_conf()")
            session.close()
            time.sleep(0.5)

    def test_no_certificate(self):
        with self._stand():
            session = connect(PORTS + 20, sslmode="prefer")
            self.assertFalse(ask(session, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"))
            session.close()
            with self.assertRaisesRegex(psycopg2.OperationalError, "server does not support SSL"):
                connect(PORTS + 20, sslmode="require")

    def test_nobody_listens(self):
        with self._stand("--certificate", world().certificate, "--key", world().key, server=1) as stand:
            for sslmode in ("disable", "require"):
                with self.assertRaisesRegex(psycopg2.OperationalError, "cannot be reached: Connection refused"):
                    connect(PORTS + 20, sslmode=sslmode)
            self.assertEqual(stand.counters["upstream_failed"], 2)
            done = subprocess.run([postgres.CLIENT_BIN / "pg_isready", "-h", "127.0.0.1", "-p", str(PORTS + 20)],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1, done.stdout)  # not 0: it must not count as up
            # libpq goes on to the next host.
            session = connect(f"{PORTS + 20},{world().servers[15].port}", host="127.0.0.1,127.0.0.1")
            self.assertEqual(ask(session, "select 1"), 1)
            session.close()


if __name__ == "__main__":
    STAND = sys.argv.pop(1)
    if "--ports" in sys.argv:
        place = sys.argv.index("--ports")
        PORTS = int(sys.argv[place + 1])
        del sys.argv[place:place + 2]
    unittest.main(verbosity=2)
