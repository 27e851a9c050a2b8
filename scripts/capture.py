#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records real PostgreSQL sessions into tests/corpus/postgres/NAME.ghcap, with what the server's own log says of them.

    sudo scripts/capture.py [--out DIR] [--port N] [SCENARIO ...]

Starts a throw-away PostgreSQL 15 (port N, default 15411) with log_statement=all, puts a recording relay in front of it
(port N + 1) and lets real clients talk through the relay. For each scenario it writes NAME.ghcap
(docs/formats/ghcap.md) and NAME.log: one line per statement that the server logged, `kind<TAB>text` with line ends
escaped. Needs root, to become user postgres. Times and process numbers are replaced by counters, so that a new
recording differs little.
"""
import argparse, os, pwd, re, shutil, socket, struct, subprocess, sys, tempfile, threading, time

BIN = "/usr/lib/postgresql/15/bin"


def crc32c(data, table=[]):
    if not table:
        for i in range(256):
            crc = i
            for _ in range(8):
                crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
            table.append(crc)
    crc = 0xFFFFFFFF
    for b in data:
        crc = (crc >> 8) ^ table[(crc ^ b) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Recording:
    """A .ghcap file in memory. Any thread."""

    def __init__(self):
        self.lock = threading.Lock()
        self.out = bytearray(b"GHCAP\0" + struct.pack("<H", 1))
        self.clock = 0
        self.sockets = 0

    def record(self, body):
        self.out += struct.pack("<II", len(body), crc32c(body)) + body

    def tick(self):
        self.clock += 1000
        return self.clock

    def opened(self, port):
        with self.lock:
            self.sockets += 1
            number = self.sockets
            endpoint = bytes([127, 0, 0, 1] + [0] * 12)
            process = struct.pack("<IQ", 100 + number, 1)
            self.record(struct.pack("<BQQBBI", 1, number, self.tick(), 0, 1, 1)
                        + endpoint + struct.pack("<HI", 40000 + number, 0) + endpoint + struct.pack("<HI", port, 0)
                        + process + struct.pack("<IQ", 0, 0) + struct.pack("<I", 1000))
            return number

    def chunk(self, number, direction, offset, data):
        with self.lock:
            process = struct.pack("<IQ", 100 + number, 1)
            writer = process if direction == 0 else struct.pack("<IQ", 0, 0)
            self.record(struct.pack("<BQBQQ", 2, number, direction, offset, self.tick()) + process + writer
                        + struct.pack("<IHBII", 100 + number, 1, 0, len(data), 0) + data)

    def closed(self, number, totals):
        with self.lock:
            self.record(struct.pack("<BQQ2Q8Q", 4, number, self.tick(), *totals, *[0] * 8))


class Relay:
    """Accepts on `port`, forwards to `target`, and records every read as one chunk before it forwards it."""

    def __init__(self, port, target, recording):
        self.recording, self.target, self.port = recording, target, port
        self.listener = socket.create_server(("127.0.0.1", port))
        self.threads = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(client,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, client):
        server = socket.create_connection(("127.0.0.1", self.target))
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = self.recording.opened(self.port)
        totals = [0, 0]

        def pump(direction, source, sink):
            try:
                while data := source.recv(256 << 10):
                    self.recording.chunk(number, direction, totals[direction], data)
                    totals[direction] += len(data)
                    sink.sendall(data)
            except OSError:
                pass
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        response = threading.Thread(target=pump, args=(1, server, client), daemon=True)
        response.start()
        pump(0, client, server)
        response.join()
        self.recording.closed(number, totals)
        client.close()
        server.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(timeout=10)


class Server:
    def __init__(self, port):
        self.port = port
        self.folder = tempfile.mkdtemp(prefix="gatehouse-capture-")
        user = pwd.getpwnam("postgres")
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        self.data = f"{self.folder}/data"
        password = f"{self.folder}/password"
        with open(password, "w") as f:
            f.write("capture\n")
        os.chmod(password, 0o644)
        self.run(f"{BIN}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync", f"--pwfile={password}")
        with open(f"{self.data}/postgresql.conf", "a") as f:
            f.write(f"""
port = {port}
listen_addresses = '127.0.0.1'
unix_socket_directories = '{self.folder}'
fsync = off
wal_level = logical
log_statement = all
log_replication_commands = on
log_connections = on
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_line_prefix = '@%p '
lc_messages = 'C'
jit = off
max_prepared_transactions = 4
""")
        with open(f"{self.data}/pg_hba.conf", "w") as f:
            f.write("local all all trust\nhost all scram 127.0.0.1/32 scram-sha-256\nhost all md5 127.0.0.1/32 md5\n"
                    "host all plain 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n"
                    "host replication all 127.0.0.1/32 trust\n")
        self.log = f"{self.folder}/log"
        self.run(f"{BIN}/pg_ctl", "-D", self.data, "-l", self.log, "-w", "start")

    def run(self, *command, **more):
        return subprocess.run(["runuser", "-u", "postgres", "--", *command], check=True, stdout=subprocess.DEVNULL,
                              **more)

    def mark(self):
        return os.path.getsize(self.log)

    def statements(self, mark):
        """What the server says it was asked, since `mark`."""
        with open(self.log, "rb") as f:
            f.seek(mark)
            text = f.read().decode("utf-8", "surrogateescape")
        # A message goes on in lines that begin with a tab.
        text = text.replace("\n\t", "\x01")
        out = []
        for line in text.splitlines():
            m = re.match(r"@\d+ LOG:  (statement|execute [^:]*|execute fetch from [^:]*|fastpath function call"
                         r"|received replication command): (.*)$", line)
            if m:
                kind = m.group(1).split()[0] if not m.group(1).startswith("execute fetch") else "fetch"
                out.append(f"{kind}\t" + m.group(2).replace("\\", "\\\\").replace("\x01", "\\n"))
        return out

    def stop(self):
        subprocess.run(["runuser", "-u", "postgres", "--", f"{BIN}/pg_ctl", "-D", self.data, "-m", "immediate", "stop"],
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def psql(port, *statements, user="postgres", database="postgres", stdin=None, options=""):
    environment = dict(os.environ, PGPASSWORD="capture", PGOPTIONS=options, PGSSLMODE="disable", PGAPPNAME="psql")
    command = ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", user, "-d", database]
    for statement in statements:
        command += ["-c", statement]
    subprocess.run(command, env=environment, input=stdin, text=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def connect(port, user="postgres", **options):
    import psycopg
    return psycopg.connect(host="127.0.0.1", port=port, user=user, password="capture", dbname="postgres",
                           sslmode="disable", gssencmode="disable", autocommit=True, **options)


@scenario
def simple(port):
    psql(port, "SELECT 1 AS one", "", "SELECT 'it''s', $$a;b$$ -- c", "SELEC", "SELECT 1/0",
         "CREATE TABLE s (a int, b text)", "INSERT INTO s SELECT g, g::text FROM generate_series(1, 500) g",
         "SELECT * FROM s", "UPDATE s SET b = 'x' WHERE a < 10", "DELETE FROM s WHERE a > 490", "EXPLAIN SELECT 1",
         "SHOW server_version", "DO $$ BEGIN RAISE NOTICE 'hello'; END $$")


@scenario
def several(port):
    psql(port, "BEGIN; CREATE TABLE m (a int); INSERT INTO m VALUES (1), (2); COMMIT", "SELECT 1; SELECT 1/0; SELECT 2",
         "SELECT 1; SELEC 2", ";;",
         "SELECT ';'; /* ; /* ; */ */ SELECT $q$;$q$; -- ;\nSELECT \"a;\" FROM (SELECT 1 AS \"a;\") t",
         "CREATE FUNCTION f() RETURNS int LANGUAGE sql "
         "BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END; SELECT f()",
         "SET standard_conforming_strings = off; SET escape_string_warning = off", "SELECT 'a\\'; SELECT '; SELECT 2",
         "SET standard_conforming_strings = on", "SELECT 'a\\'; SELECT '2'")
    with connect(port) as c:
        c.execute("SET client_encoding = 'SJIS'")
        c.pgconn.exec_(b"SELECT E'\x83\\'; SELECT '\x95\\'")


@scenario
def login(port):
    for user in ("scram", "md5", "plain", "postgres"):
        psql(port, "SELECT current_user", user=user)
    psql(port, "SELECT 1", database="absent")
    psql(port, "SELECT 1", user="absent")
    wrong = f"postgresql://scram:wrong@127.0.0.1:{port}/postgres?sslmode=prefer&gssencmode=disable"
    subprocess.run(["psql", "-X", wrong, "-c", "SELECT 1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    psql(port, "SELECT 1", options="-c search_path=x -c application_name=opt")


@scenario
def extended(port):
    with connect(port, prepare_threshold=None) as c:
        c.execute("SELECT %s::int + %s", (1, 2))
        c.execute("SELECT %s::text", ("it's",))
        c.execute("SELECT %s::text, %s::bytea", (None, b"\x00\xff"), binary=True)
        for bad in ("SELECT %s::int", "SELECT %s FROM absent"):
            try:
                c.execute(bad, ("x",))
            except Exception:
                pass
    with connect(port, prepare_threshold=0) as c:
        for i in range(5):
            c.execute("SELECT %s::int * 2", (i,))
        c.execute("SELECT 'other'", prepare=True)
        c.execute("SELECT %s::int * 2", (9,))


@scenario
def pipeline(port):
    with connect(port) as c:
        c.execute("CREATE TABLE p (a int PRIMARY KEY, b text)")
        with c.pipeline() as p:
            for i in range(5):
                c.execute("INSERT INTO p VALUES (%s, %s)", (i, f"v{i}"))
            p.sync()
            c.execute("SELECT * FROM p")
        try:
            with c.pipeline() as p:
                c.execute("INSERT INTO p VALUES (10, 'ok')")
                c.execute("INSERT INTO p VALUES (10, 'twice')")
                c.execute("INSERT INTO p VALUES (11, 'skipped')")
                p.sync()
        except Exception:
            pass
        with c.pipeline() as p:
            c.execute("SELECT count(*) FROM p")
            p.sync()
            c.execute("SELECT 2")


@scenario
def copy(port):
    psql(port, "CREATE TABLE c (a int, b text)")
    psql(port, "COPY c FROM STDIN", stdin="1\tone\n2\ttwo\n")
    psql(port, "COPY c FROM STDIN", stdin="x\tbad\n")
    psql(port, "COPY c TO STDOUT", "COPY (SELECT g FROM generate_series(1, 300) g) TO STDOUT (FORMAT csv)")
    with connect(port) as c:
        with c.cursor().copy("COPY c FROM STDIN (FORMAT binary)") as copying:
            copying.set_types(["int4", "text"])
            for i in range(20):
                copying.write_row((i, "row"))
        try:
            with c.cursor().copy("COPY c FROM STDIN") as copying:
                copying.write("1\tx\n")
                raise ValueError("no")
        except Exception:
            pass
        with c.cursor().copy("COPY c TO STDOUT") as copying:
            for _ in copying:
                pass
        c.execute("SELECT 1")


@scenario
def cursors(port):
    psql(port, "BEGIN; DECLARE d CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 10) g; "
         "FETCH 3 FROM d; COMMIT; FETCH ALL d; CLOSE d",
         "PREPARE \"Q\" (int) AS SELECT $1 + 1", "EXECUTE \"Q\" (1)",
         "EXPLAIN (ANALYZE, TIMING off, COSTS off, SUMMARY off) EXECUTE \"Q\" (2)", "DEALLOCATE \"Q\"")
    psql(port, "PREPARE q AS SELECT 7; EXECUTE q; CREATE TABLE cq AS EXECUTE q; DEALLOCATE ALL; DISCARD ALL")
    with connect(port) as c, c.transaction():
        with c.cursor("named") as cursor:
            cursor.execute("SELECT g FROM generate_series(1, %s) g", (25,))
            cursor.fetchmany(10)
            cursor.fetchall()


@scenario
def notify(port):
    with connect(port) as listener, connect(port) as sender:
        listener.execute("LISTEN jobs")
        sender.execute("NOTIFY jobs, 'first'")
        sender.execute("SELECT pg_notify('jobs', 'second')")
        next(listener.notifies())
        listener.execute("SELECT 1")
        listener.execute("UNLISTEN *")


@scenario
def cancel(port):
    with connect(port) as c:
        timer = threading.Timer(0.3, c.cancel)
        timer.start()
        try:
            c.execute("SELECT pg_sleep(20)")
        except Exception:
            pass
        c.execute("SELECT 'after'")
    with connect(port) as victim, connect(port) as killer:
        killer.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
        time.sleep(0.2)
        try:
            victim.execute("SELECT 'never'")
        except Exception:
            pass


@scenario
def pgbench(port):
    def run(*more):
        subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", *more, "postgres"], check=True,
                       env=dict(os.environ, PGSSLMODE="disable"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("-i", "-I", "dtG", "-q")
    for mode in ("simple", "extended", "prepared"):
        run("-n", "-S", "-M", mode, "-t", "5")
        run("-n", "-N", "-M", mode, "-t", "2")


@scenario
def replication(port):
    psql(port, "SELECT 1", "IDENTIFY_SYSTEM", "CREATE_REPLICATION_SLOT slot TEMPORARY LOGICAL test_decoding",
         "SHOW port", database="postgres replication=database")
    import psycopg
    walsender = f"host=127.0.0.1 port={port} user=postgres dbname=postgres replication=database sslmode=disable"
    with psycopg.connect(walsender, autocommit=True) as c:
        c.pgconn.exec_(b"IDENTIFY_SYSTEM")
        c.pgconn.exec_(b"SELECT 'sql on a walsender'")
    # The receiver starts at its segment's first byte: a fresh segment keeps the recording small.
    psql(port, "SELECT pg_switch_wal()")
    folder = tempfile.mkdtemp()
    command = [f"{BIN}/pg_receivewal", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-D", folder, "-n"]
    receiver = subprocess.Popen(command, env=dict(os.environ, PGSSLMODE="disable"), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    receiver.terminate()
    receiver.wait()
    shutil.rmtree(folder)


@scenario
def fastpath(port):
    with connect(port) as c, c.transaction():
        fd = c.execute("SELECT lo_creat(-1)").fetchone()[0]
        c.execute("SELECT lo_unlink(%s)", (fd,))
    import ctypes
    pq = ctypes.CDLL("libpq.so.5")
    pq.PQconnectdb.restype = pq.PQfn.restype = ctypes.c_void_p
    pq.PQconnectdb.argtypes = [ctypes.c_char_p]
    pq.lo_creat.argtypes = [ctypes.c_void_p, ctypes.c_int]
    pq.lo_unlink.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    pq.PQfinish.argtypes = [ctypes.c_void_p]
    options = f"host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable gssencmode=disable"
    connection = pq.PQconnectdb(options.encode())
    pq.lo_unlink(connection, pq.lo_creat(connection, -1))
    pq.PQfinish(connection)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests/corpus/postgres")
    parser.add_argument("--out", default=corpus)
    parser.add_argument("--port", type=int, default=15411)
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], default=[])
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("capture.py: must be root, to run the server as user postgres")
    server = Server(arguments.port)
    try:
        for user in ("scram", "md5", "plain"):
            psql(arguments.port, f"SET password_encryption = '{'md5' if user == 'md5' else 'scram-sha-256'}'; "
                 f"CREATE USER {user} PASSWORD 'capture'")
        for name in arguments.scenario or SCENARIOS:
            recording = Recording()
            relay = Relay(arguments.port + 1, arguments.port, recording)
            mark = server.mark()
            SCENARIOS[name](arguments.port + 1)
            relay.close()
            time.sleep(0.2)
            with open(f"{arguments.out}/{name}.ghcap", "wb") as f:
                f.write(recording.out)
            with open(f"{arguments.out}/{name}.log", "w", errors="surrogateescape") as f:
                f.write("".join(line + "\n" for line in server.statements(mark)))
            print(f"{name}: {recording.sockets} connections, {len(recording.out)} bytes")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
