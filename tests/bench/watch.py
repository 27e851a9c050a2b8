#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What watching costs, beside the other ways to know what ran on a PostgreSQL.

Measures, for pgbench -S with 4 clients over TCP, in the simple and the prepared protocol:

  plain       the server alone
  watched     gatehouse-agent beside it, whole pipeline: kernel, decoding, identity, spool, uplink
  statements  log_statement=all to a file
  pgaudit     pgaudit.log=all to the same kind of file

and, if asked for with --arms, parts of "watched":

  dispatch    programs that do nothing on the hooks that a statement passes: what the kernel takes to come to them
  kernel      the kernel side alone; its records are read and thrown away

Arms are interleaved in rounds, in turning order, on the same data; a ratio compares an arm with the plain run of its
own round. The figure to judge by is CPU per statement summed over client, server and agent (cgroup accounting, kernel
time included): on a saturated host it is what throughput tends to, and it is far steadier than throughput on a busy
one. The collector runs on another machine in real life, so it must not take this one's processors while statements are
measured: it is stopped (SIGSTOP) during the run, and continues after it. The agent's account is closed only when the
collector has everything, so compressing, spooling and shipping are in the sum. The collector's own CPU per statement
stands in its own column and in no sum. pgaudit must be preloaded, so it has a server of its own, with the same
settings.

Budget: the CPU ratio plain/watched is at least 0.90 at the median, in both protocols; with a fallback plane 0.94 in the
simple and 0.88 in the prepared one. Exit code 1 if it is missed, or if a statement was not recorded.

usage: watch.py [--rounds N] [--seconds S] [--arms plain,watched,…] [--modes simple,prepared] [--plane NAME]
                [--tls]
                [--json FILE]
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.support import gatehouse, postgres  # noqa: E402
from tests.support.cgroup import Cgroup  # noqa: E402

BUDGET_CPU_RATIO = 0.90
BUDGET_CPU_RATIO_FALLBACK = {"simple": 0.94, "extended": 0.88, "prepared": 0.88}
CLIENTS = 4
ARMS = ("plain", "watched", "statements", "pgaudit")
PARTS = ("dispatch", "kernel")  # of "watched": see attached.cc
ATTACHED = pathlib.Path(__file__).resolve().parents[2] / "build/release/tests/bench/attached"
MODES = ("simple", "prepared")
PLANES = ("auto", "socket", "length", "syscall")
# Small on purpose: every run's new backends fault in every page they touch, which on a virtual machine costs several
# times a statement; 13 MB are mapped within the first instants. It also makes statements as cheap as they get.
SCALE = 1
# A new backend's first statements fault in memory and fill caches, which costs hundreds of milliseconds on a virtual
# machine; a run is measured after that, between two readings of the clock and of the CPU counters.
WARM_SECONDS = 1.0

SETTINGS = {
    "shared_buffers": "64MB", "synchronous_commit": "off", "logging_collector": "on", "log_destination": "stderr",
    "log_directory": "log", "log_filename": "bench.log", "log_line_prefix": "%m [%p] %u@%d ", "log_rotation_age": "0",
    "log_rotation_size": "0",
}


@dataclasses.dataclass
class Run:
    """One pgbench run. CPU in microseconds per statement; a transaction is one."""
    transactions: int  # of the whole run, measured or not
    client: float
    server: float
    agent: float
    collector: float
    tps: float
    p50: float
    p99: float
    recorded: int | None

    @property
    def cpu(self):
        return self.client + self.server + self.agent


def _certificate(directory):
    """Settings of a server that offers TLS."""
    key, certificate = directory / "server.key", directory / "server.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    subprocess.run(["chown", postgres.SERVER_USER, key, certificate], check=True)
    return {"ssl": "on", "ssl_key_file": str(key), "ssl_cert_file": str(certificate)}


class Bench:
    def __init__(self, directory, first_port, seconds, tls=False):
        self.directory = pathlib.Path(directory)
        self.seconds = seconds
        self.tls_mode = "require" if tls else "disable"
        self.plane = "auto"
        self.groups = {name: Cgroup(name) for name in ("client", "server", "audited", "agent", "collector")}
        settings = {**SETTINGS, **(_certificate(self.directory) if tls else {})}
        self.server = postgres.Postgres(15, self.directory / "plain", first_port, settings=settings,
                                        prefix=self.groups["server"].prefix)
        self.audited = postgres.Postgres(15, self.directory / "audited", first_port + 1,
                                         settings={**SETTINGS, "shared_preload_libraries": "pgaudit",
                                                   "pgaudit.log": "all"}, prefix=self.groups["audited"].prefix)
        self.collector = gatehouse.Collector(self.directory / "gh", first_port + 2)
        self.collector.prefix = self.groups["collector"].prefix
        self.agent = gatehouse.Agent(self.directory / "gh", self.collector, [self.server])
        self.agent.prefix = self.groups["agent"].prefix

    @classmethod
    @contextlib.contextmanager
    def opened(cls, text, arguments, arms):
        """Says `text`, a module's documentation, and is there, started, with a folder that goes away."""
        if os.geteuid() != 0:
            sys.exit("this benchmark makes cgroups and loads BPF programs: run it as root")
        print(text.split("\nusage:")[0])
        directory = pathlib.Path(tempfile.mkdtemp(prefix="gatehouse-bench-"))
        os.chmod(directory, 0o755)
        bench = cls(directory, arguments.ports, arguments.seconds, getattr(arguments, "tls", False))
        try:
            bench.start(arms)
            yield bench
        finally:
            bench.close()
            shutil.rmtree(directory)

    def start(self, arms):
        for server in (self.server, self.audited) if "pgaudit" in arms else (self.server,):
            server.start()
            for sql in ("create role bench login superuser", "create role logged login superuser",
                        "alter role logged set log_statement = 'all'", "create database bench owner bench"):
                server.psql(sql)
            subprocess.run([postgres.PGBENCH, "-i", "-q", "-s", str(SCALE), "-h", server.socket_dir, "-p",
                            str(server.port), "-U", "bench", "bench"], check=True, capture_output=True)
        if "watched" in arms:
            self.collector.start()

    def close(self):
        for daemon in (self.agent, self.collector):
            daemon.stop()
        self.server.close()
        self.audited.close()
        for group in self.groups.values():
            group.remove()

    def run(self, arm, mode):
        if arm in PARTS:
            return self._run_part(arm, mode)
        if arm != "watched":
            return self._measured(arm, mode)
        self.agent.start("--plane", self.plane).wait_ready()
        try:
            return self._measured(arm, mode)
        finally:
            self.agent.stop()

    def _run_part(self, arm, mode):
        arguments = ["kernel", self.plane] if arm == "kernel" else [arm]
        with subprocess.Popen([*self.groups["agent"].prefix, ATTACHED, *arguments],
                              stdout=subprocess.PIPE) as attached:
            try:
                if attached.stdout.readline() != b"ready\n":
                    raise RuntimeError(f"{arm}: cannot attach the programs")
                return self._measured(arm, mode)
            finally:
                attached.terminate()

    def _measured(self, arm, mode):
        server = self.audited if arm == "pgaudit" else self.server
        logs = self.directory / "latencies"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        is_watched = arm == "watched"
        recorded_before = self._recorded() if is_watched else 0
        pgbench = subprocess.Popen(
            [*self.groups["client"].prefix, str(postgres.PGBENCH), "-n", "-S", "-c", str(CLIENTS), "-M", mode, "-T",
             str(math.ceil(WARM_SECONDS + self.seconds)), "-l", "--log-prefix", str(logs / "l"), "-h", "127.0.0.1",
             "-p", str(server.port), "-U", "logged" if arm == "statements" else "bench", "bench"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PGSSLMODE": self.tls_mode})
        time.sleep(WARM_SECONDS)
        if is_watched:
            self.collector.process.send_signal(signal.SIGSTOP)
        names = ("client", "audited" if arm == "pgaudit" else "server")
        own = ("agent", "collector")
        start, before, own_before = time.time(), self._cpu(names), self._cpu(own)
        time.sleep(self.seconds - 0.2)
        end, after = time.time(), self._cpu(names)
        output, errors = pgbench.communicate()
        if is_watched:
            self.collector.process.send_signal(signal.SIGCONT)
        if pgbench.returncode != 0:
            raise RuntimeError(f"pgbench: {errors}")
        latencies = latencies_between(logs, start, end)
        client, served = ((a - b) / 1000 / len(latencies) for a, b in zip(after, before))
        total = int(re.search(r"actually processed: (\d+)", output)[1])
        recorded, agent, collector = None, 0.0, 0.0
        if arm in PARTS:
            agent = (self._cpu(own)[0] - own_before[0]) / 1000 / len(latencies_between(logs, start, math.inf))
        if is_watched:
            recorded = self._recorded_by_now(recorded_before, total)
            since_start = len(latencies_between(logs, start, math.inf))
            agent, collector = ((a - b) / 1000 / since_start for a, b in zip(self._cpu(own), own_before))
        return Run(total, client, served, agent, collector, len(latencies) / (end - start),
                   statistics.median(latencies), latencies[int(len(latencies) * 0.99)], recorded)

    def _cpu(self, names):
        return [self.groups[name].cpu_ns() for name in names]

    def _recorded(self):
        """Benchmark statements that can be asked for. pgbench's own questions at its start are not among them."""
        done = self.collector.cli("top", "--by", "session.user", "--since", "1d",
                                  'session.user == "bench" && result.rows == 1 && statement.text.contains("abalance")')
        return sum(json.loads(line)["events"] for line in done.stdout.splitlines())

    def _recorded_by_now(self, before, wanted):
        deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
        while (found := self._recorded() - before) < wanted and time.monotonic() < deadline:
            time.sleep(0.5)
        return found


def latencies_between(directory, start, end):
    """Microseconds of the transactions that ended between two Unix times, sorted, from pgbench's transaction logs:
    client, number, latency, script, seconds, microseconds."""
    values = []
    for log in directory.iterdir():
        for line in log.read_text().splitlines():
            _, _, latency, _, seconds, microseconds = line.split()[:6]
            if start <= int(seconds) + int(microseconds) / 1e6 < end:
                values.append(int(latency))
    return sorted(values)


def spread(values):
    values = list(values)
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def summarise(rounds, arms):
    """`rounds`: one dictionary arm -> Run each."""
    table = {}
    for arm in arms:
        runs = [r[arm] for r in rounds]
        table[arm] = {
            "cpu_us": spread(r.cpu for r in runs),
            "cpu_ratio": spread(r["plain"].cpu / r[arm].cpu for r in rounds),
            "tps_ratio": spread(r[arm].tps / r["plain"].tps for r in rounds),
            "p50_us": spread(r.p50 for r in runs),
            "p99_us": spread(r.p99 for r in runs),
            "client_us": statistics.median(r.client for r in runs),
            "server_us": statistics.median(r.server for r in runs),
            "agent_us": statistics.median(r.agent for r in runs),
            "collector_us": statistics.median(r.collector for r in runs) if arm == "watched" else 0.0,
            "transactions": sum(r.transactions for r in runs),
            "not_recorded": sum(r.transactions - r.recorded for r in runs if r.recorded is not None),
        }
    return table


def print_table(mode, table, rounds):
    def ratio(of):
        return f"{of['median']:.3f} [{of['min']:.3f} {of['max']:.3f}]"

    print(f"\npgbench -S -c {CLIENTS} -M {mode}, {rounds} rounds: median, and [min max] over rounds")
    print(f"{'arm':<11}{'CPU us/stmt':>12}{'CPU ratio':>22}{'TPS ratio':>22}{'p50 us':>8}{'p99 us':>8}"
          f"{'client':>8}{'server':>8}{'agent':>7}{'collector':>10}{'lost':>6}")
    for arm, row in table.items():
        lost = row["not_recorded"] if arm == "watched" else "-"
        print(f"{arm:<11}{row['cpu_us']['median']:>12.2f}{ratio(row['cpu_ratio']):>22}{ratio(row['tps_ratio']):>22}"
              f"{row['p50_us']['median']:>8.0f}{row['p99_us']['median']:>8.0f}{row['client_us']:>8.2f}"
              f"{row['server_us']:>8.2f}{row['agent_us']:>7.2f}{row['collector_us']:>10.2f}{lost:>6}", flush=True)


def measure(bench, arms, mode, rounds):
    results = []
    for number in range(rounds):
        turn = number % len(arms)
        results.append({arm: bench.run(arm, mode) for arm in arms[turn:] + arms[:turn]})
        print(f"{mode}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return summarise(results, arms)


def budget_of(plane, mode):
    return BUDGET_CPU_RATIO_FALLBACK[mode] if plane in ("length", "syscall") else BUDGET_CPU_RATIO


def is_within_budget(tables, plane):
    good = True
    for mode, table in tables.items():
        row = table.get("watched")
        if row is None:
            continue
        ratio, budget = row["cpu_ratio"]["median"], budget_of(plane, mode)
        verdict = "within" if ratio >= budget else "MISSES"
        print(f"{mode}, plane {plane}: CPU ratio {ratio:.3f} {verdict} the budget of {budget:.2f}; "
              f"{row['not_recorded']} of {row['transactions']} statements not recorded")
        good = good and ratio >= budget and row["not_recorded"] == 0
    return good


def parse_arguments():
    parser = argparse.ArgumentParser(description="what watching costs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--plane", choices=PLANES, default="auto", help="the watched arm's (docs/bpf-hooks.md)")
    parser.add_argument("--tls", action="store_true", help="every arm over TLS 1.3; the plain one is TLS unwatched")
    parser.add_argument("--ports", type=int, default=int(os.environ.get("GATEHOUSE_TEST_PORTS", "25430")))
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    arguments.arms, arguments.modes = tuple(arguments.arms.split(",")), tuple(arguments.modes.split(","))
    if not set(arguments.arms) <= {*ARMS, *PARTS} or "plain" not in arguments.arms:
        parser.error(f"arms are {', '.join(ARMS)}; plain is always needed")
    if not set(arguments.modes) <= {"simple", "extended", "prepared"}:
        parser.error("modes are simple, extended and prepared")
    return arguments


def main():
    arguments = parse_arguments()
    tables = {}
    with Bench.opened(__doc__, arguments, arguments.arms) as bench:
        bench.plane = arguments.plane
        for mode in arguments.modes:
            tables[mode] = measure(bench, arguments.arms, mode, arguments.rounds)
            print_table(mode, tables[mode], arguments.rounds)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(
            {"benchmark": "watch", "rounds": arguments.rounds, "plane": arguments.plane,
             "budget_cpu_ratio": {mode: budget_of(arguments.plane, mode) for mode in tables}, "modes": tables},
            indent=2) + "\n")
    print()
    return 0 if is_within_budget(tables, arguments.plane) else 1


if __name__ == "__main__":
    sys.exit(main())
