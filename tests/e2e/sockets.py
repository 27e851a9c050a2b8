# SPDX-License-Identifier: Apache-2.0
"""Every socket of a database is in the account of the host, with its verdict: against `ss` and the server's own list of
its sessions."""

import collections
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import time

import psycopg

from tests.e2e.context import require
from tests.e2e.hard_paths import IN_OWN_NETWORK
from tests.support import gatehouse, postgres, workload

OPEN_SECONDS_MAX = 30
# An agent that tells how it stands every two seconds, and has the kernel count for half of them.
OFTEN = "  status_interval: 2s\n  bpf_sample: 1s\n"
SESSIONS = 1000
LONG_BYTES = 60_000
RESIDENT_BYTES_MAX = 64 << 20
SOCKETS_MAX = 1000  # kHostSocketsMax
BPFTOOL = shutil.which("bpftool", path="/usr/sbin:/usr/bin:/sbin")
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
# TCP connections that nobody has closed are looked for once a second, and given up when they are missing twice.
RECONCILED_SECONDS = 3


def sockets(context):
    abstract = f"@gatehouse-{context.port(1)}"
    settings = {**context.certificate(), "unix_socket_directories": f"{context.directory}/pg15-1/socket,{abstract}"}
    with context.server(settings=settings) as server, contextlib.ExitStack() as opened:
        workload.prepare(server)
        hosts = ("127.0.0.1", "::1", str(server.socket_dir), abstract)
        before = {f"before {host}": opened.enter_context(_connect(server, host)) for host in hosts}
        before["tls before"] = opened.enter_context(_connect(server, "127.0.0.1", sslmode="require"))
        for connection in before.values():
            connection.execute("select 1")
        listed = _doctor()
        require(listed["agent"] is None, f"doctor says that an agent runs: {listed['agent']}")
        _check_listeners(server, listed)
        _check_sessions(server, listed, {name: ("will-be-joined", "opened-before-watching") for name in before})
        stack = context.stack(server)
        stack.agent.own_settings = OFTEN
        with stack:
            _while_watched(context, stack, server, before, opened)


def _while_watched(context, stack, server, before, opened):
    after = {f"after {host}": opened.enter_context(_connect(server, host))
             for host in ("127.0.0.1", "::1", str(server.socket_dir), f"@gatehouse-{context.port(1)}")}
    secret = opened.enter_context(_connect(server, "127.0.0.1", sslmode="require"))
    wanted = ({name: ("gaps", "opened-before-watching") for name in before} | {name: ("full", "") for name in after} |
              {"tls": ("full", ""), "tls before": ("opaque", "tls")})
    for connection in (*before.values(), *after.values(), secret):
        connection.execute("select 1")
    listed = _until_settled(stack, server, wanted)
    require(listed["agent"]["phase"] == "running", f"the agent's phase: {listed['agent']}")
    _check_listeners(server, listed)
    _check_users(listed, server)
    _check_published(stack, server, wanted)
    # A connection that never says a word is watched, and is no session.
    silent = opened.enter_context(_silent(server.port))
    found = [s for s in _doctor(stack)["sockets"] if s.get("client", {}).get("address") == silent]
    require([(s["verdict"], s["reason"]) for s in found] == [("watched", "nothing-said")],
            f"a silent connection is {found}")


def _check_published(stack, server, wanted):
    """The collector's answer is the same list, with counts that are those of the list."""
    def agent():
        found = _published(stack)
        told = collections.Counter((s["verdict"], s.get("reason", "")) for s in _of(server, found)
                                   if not s.get("listening"))
        return found if told == collections.Counter(wanted.values()) else None

    found = _until(agent, "the same verdicts in `gatehouse agents --sockets`")
    _check_listeners(server, found)
    require(found["sockets_left_out"] == 0, f"{found['sockets_left_out']} sockets were left out")
    listed = collections.Counter("listening" if s.get("listening") else s["verdict"] for s in found["sockets"])
    counted = {name.removeprefix("sockets_"): count for name, count in found["counters"].items()
               if name.startswith("sockets_") and count}
    require(counted == listed, f"counts {counted} of {listed}")
    shown = subprocess.run([gatehouse.CLI, "agents", "--collector", stack.collector.address, "--credentials",
                            stack.collector.state / "operator"], check=True, capture_output=True, text=True).stdout
    require(f"{counted['full']} full, {counted['gaps']} gaps, {counted['opaque']} opaque" in shown,
            f"`gatehouse agents` says:\n{shown}")


def cost(context):
    """What the agent says it costs is what the kernel says."""
    with context.server() as server:
        workload.prepare(server)
        stack = context.stack(server)
        stack.agent.own_settings = OFTEN
        with stack, _connect(server, "127.0.0.1") as connection:
            _check_cpu(stack)

            def counters():
                for _ in range(200):
                    connection.execute("select 1")
                return json.loads(stack.collector.cli("agents").stdout)["counters"]

            told = _until(lambda: (found := counters()).get("cost_bpf_runs_on_tcp_send", 0) > 100 and found,
                          "runs of a BPF program in the agent's status")
            _check_programs(stack.agent.process.pid, told)
            _check_documented(told)
            require(told["cost_cpu_ns"] <= _cpu_ns(stack.agent.process.pid) + 2 * TICK_NS, f"published: {told}")
            require(0 < told["cost_cpu_ppm"] < 10**6 * os.cpu_count(), f"{told['cost_cpu_ppm']} millionths of a core")
            require(told["records_per_second"] > 0, f"no records: {told}")
            memory = _memory(stack.agent.process.pid)
            # The kernel keeps its accounts per processor: one is some pages behind another.
            require(memory["VmRSS"] / 2 <= told["cost_resident_bytes"] <= memory["VmHWM"] * 1.1 and
                    told["cost_resident_bytes"] <= told["cost_resident_bytes_max"] <= memory["VmHWM"] * 1.1,
                    f"resident: {told['cost_resident_bytes']}, the kernel says {memory}")


def memory(context):
    """The agent stays small with many sessions, also when each of them has said something long."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * SESSIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    settings = {"max_connections": SESSIONS + 100, "shared_buffers": "16MB"}
    with context.server(settings=settings, oracle_log=False) as server, contextlib.ExitStack() as opened:
        workload.prepare(server)
        stack = context.stack(server)
        stack.agent.own_settings = OFTEN
        with stack:
            hosts = ("127.0.0.1", str(server.socket_dir))
            clients = [opened.enter_context(_connect(server, hosts[n % 2])) for n in range(SESSIONS)]
            for n, client in enumerate(clients):
                client.execute("select length(%s) /*gh:long*/", ("x" * LONG_BYTES,))
                for name in ("one", "two"):
                    client.execute(f"select %s::int as {name} /* {'y' * 500} */", (n,), prepare=True)
            found = _until(lambda: (agent := _published(stack))["counters"]["sockets_full"] >= SESSIONS and agent,
                           f"{SESSIONS} sessions in the agent's status")
            count = sum(value for name, value in found["counters"].items() if name.startswith("sockets_"))
            require(len(found["sockets"]) == SOCKETS_MAX and found["sockets_left_out"] == count - SOCKETS_MAX > 0,
                    f"{len(found['sockets'])} of {count} sockets are listed, {found['sockets_left_out']} left out")
            _until(lambda: _long(stack) >= SESSIONS, "the long statements")
            require(_long(stack) == SESSIONS, f"{_long(stack)} long statements of {SESSIONS} sessions")
            resident = _memory(stack.agent.process.pid)["VmHWM"]
            print(f"    {resident >> 20} MiB with {SESSIONS} sessions", flush=True)
            require(resident <= RESIDENT_BYTES_MAX, f"the agent was {resident} bytes large at most")


def _check_documented(told):
    text = (postgres.ROOT / "docs/counters.md").read_text(encoding="utf-8")
    for name in told:
        name = re.sub(r"^(cost_bpf_(?:ns|runs)_).*", r"\1PROGRAM", name)
        require(f"`{name}`" in text, f"docs/counters.md does not explain {name}")


def _published(stack):
    return json.loads(stack.collector.cli("agents", "--sockets").stdout)


def _long(stack):
    """How many there are, without what they say: it is some 60 MB."""
    groups = stack.collector.cli("top", 'statement.text.contains("gh:long")', "--by", "session.transport").stdout
    return sum(json.loads(line)["events"] for line in groups.splitlines())


def _check_cpu(stack):
    pid = stack.agent.process.pid
    before = _cpu_ns(pid)
    told = _doctor(stack)["agent"]["counters"]["cost_cpu_ns"]
    after = _cpu_ns(pid)
    # The kernel shows ticks, of user and system time each.
    require(before - 2 * TICK_NS <= told <= after + 2 * TICK_NS, f"CPU: {told} ns, the kernel says {before} to {after}")


def _cpu_ns(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_NS


def _memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        return {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in status)
                if name in ("VmRSS", "VmHWM")}


def _check_programs(pid, told):
    shown = json.loads(subprocess.run([BPFTOOL, "--json", "prog", "show"], check=True, capture_output=True).stdout)
    ids = set()
    for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            ids |= {int(number) for number in re.findall(r"^prog_id:\t(\d+)", info.read_text(), re.MULTILINE)}
    own = {p["name"]: p for p in shown if p["id"] in ids}
    require("on_tcp_send" in own, f"bpftool shows programs {sorted(own)} of the agent")
    for name, program in own.items():
        runs, run_ns = told.get("cost_bpf_runs_" + name, 0), told.get("cost_bpf_ns_" + name, 0)
        # It counts on, and was perhaps asked to by others before.
        require(runs <= program.get("run_cnt", 0) and run_ns <= program.get("run_time_ns", 0),
                f"{name}: {runs} runs, {run_ns} ns; the kernel says {program}")
    require(told["cost_bpf_ns_on_tcp_send"] > 0 and told["cost_bpf_ppm"] > 0, f"no time in BPF: {told}")


def other_network_stays(context):
    """A session in another network namespace is watched for as long as it lasts, idle as it may be."""
    hba = ["local all all trust", "host all all 127.0.0.1/32 trust"]
    with context.server(settings={"listen_addresses": "*"}, hba=hba, prefix=IN_OWN_NETWORK) as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            client = subprocess.Popen(
                ["nsenter", f"--net=/proc/{server.pid}/ns/net", "--", postgres.PSQL, "-X", "-q", "-h", "127.0.0.1",
                 "-p", str(server.port), "-U", "app", "-d", "shop"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                text=True)
            _say(client, "select 1 /*gh:early*/;")
            _until_statement(stack, "gh:early")
            time.sleep(RECONCILED_SECONDS)
            found = [s for s in _doctor(stack)["sockets"] if s.get("client", {}).get("pid") == client.pid]
            require(len(found) == 1 and found[0]["verdict"] == "full" and found[0].get("network_namespace"),
                    f"a session in another network is {found}")
            _say(client, "select 2 /*gh:late*/;")
            _until_statement(stack, "gh:late")
            client.stdin.close()
            require(client.wait(OPEN_SECONDS_MAX) == 0, "psql failed")


def _say(client, text):
    client.stdin.write(text + "\n")
    client.stdin.flush()


def _until_statement(stack, word):
    _until(lambda: [e for e in stack.collector.query('kind == "statement"') if word in e["statement"].get("text", "")],
           f"statement {word}")


def _connect(server, host, **options):
    options = {"sslmode": "disable", "gssencmode": "disable"} | options
    return psycopg.connect(host=host, port=server.port, user="app", dbname="shop", autocommit=True, **options)


@contextlib.contextmanager
def _silent(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        yield "%s:%d" % connection.getsockname()


def _doctor(stack=None):
    options = ["--config", stack.agent.config] if stack else []
    done = subprocess.run([gatehouse.AGENT, "doctor", *options, "--json"], check=False, capture_output=True, text=True,
                          timeout=60)
    require(done.returncode == 0, f"doctor: {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def _of(server, listed):
    """What is listed of this server; other servers of this machine are none of the test's business."""
    ends = (f":{server.port}", f".s.PGSQL.{server.port}")
    return [s for s in listed["sockets"] if s["server"]["address"].endswith(ends)]


def _ss(*options):
    """What `ss` shows: inode, and the processes that hold it."""
    text = subprocess.run(["ss", "-H", "-n", "-p", "-e", *options], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in text.splitlines():
        # A Unix socket's "ino:" is that of its path.
        inode = re.search(r" (\d+) +\* +\d+\b(?!\s*\*)" if line.startswith("u_") else r"\bino:(\d+)", line)
        if inode:  # a connection in TIME-WAIT has none
            found[int(inode[1])] = (line, {int(pid) for pid in re.findall(r"pid=(\d+)", line)})
    return found


def _check_listeners(server, listed):
    wanted = {inode for inode, (_, pids) in (_ss("-l", "-t") | _ss("-l", "-x")).items() if server.pid in pids}
    require(len(wanted) >= 4, f"ss shows {len(wanted)} sockets of a server with two addresses and two paths")
    found = {s["server"]["inode"]: s for s in _of(server, listed) if s.get("listening")}
    require(wanted == set(found), f"ss shows listeners {wanted}, doctor {found}")
    for one in found.values():
        require(one["verdict"] == "watched" and one["server"]["pid"] == server.pid and
                one["server"]["exe"].endswith("/postgres"), f"a listener: {one}")


def _backends(server):
    """pid to (is encrypted, client's port or -1) of every session, as the server has them."""
    text = server.psql("select a.pid, coalesce(s.ssl, false), coalesce(a.client_port, -1) from pg_stat_activity a left "
                       "join pg_stat_ssl s using (pid) where a.backend_type = 'client backend' and a.pid != "
                       "pg_backend_pid()").stdout
    return {int(pid): (ssl == "t", int(port)) for pid, ssl, port in (line.split("|") for line in text.split())}


def _check_sessions(server, listed, wanted):
    """Each session of the server's list is there, at both its ends, and as often with each verdict as is right."""
    backends = _backends(server)
    found = {s["server"].get("pid"): s for s in _of(server, listed) if not s.get("listening")}
    require(set(backends) == set(found), f"the server has sessions {backends}, doctor shows {found}")
    told = collections.Counter((s["verdict"], s.get("reason", "")) for s in found.values())
    require(told == collections.Counter(wanted.values()), f"verdicts {told}, wanted {wanted}")
    shown = _ss("-t", "-x")
    for pid, one in found.items():
        is_tls, port = backends[pid]
        if one["verdict"] == "opaque":
            require(is_tls and "session" in one, f"encrypted is {is_tls}: {one}")
        require(port == -1 or one["client"]["address"].endswith(f":{port}"), f"client port {port}: {one}")
        for end, holder in ((one["server"], pid), (one["client"], os.getpid())):
            require(end["pid"] == holder, f"{end} is not held by {holder}")
            require(holder in shown.get(end["inode"], ("", ()))[1], f"ss does not show {end} of {holder}")


def _check_users(listed, server):
    for one in _of(server, listed):
        if "session" in one and one["verdict"] != "opaque":
            require((one.get("user"), one.get("database")) == ("app", "shop"), f"who is {one}")


def _until_settled(stack, server, wanted):
    """The harness's own sessions end, and what was said arrives: then the list is as it should be."""
    def is_settled():
        listed = _doctor(stack)
        found = [s for s in _of(server, listed) if not s.get("listening")]
        told = collections.Counter((s["verdict"], s.get("reason", "")) for s in found)
        return listed if told == collections.Counter(wanted.values()) else None

    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while not (listed := is_settled()) and time.monotonic() < deadline:
        time.sleep(0.2)
    listed = listed or _doctor(stack)
    _check_sessions(server, listed, wanted)
    return listed


def _until(ask, what):
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.3)
    require(False, f"no {what}")
    return None
