#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the shim costs a session that goes through it, beside what else stands between clients and servers.

Measures pgbench -S with 4 clients over TCP in the simple, the extended and the prepared protocol, and COPY of rows of
1000 bytes out of the server:

  direct        the server alone
  shim          gatehouse-agent enforces, without a rule: everything is judged and recorded, nothing refused
  shim-rules    the same with 1,000 rules
  pgbouncer     pgbouncer in session mode
  haproxy       haproxy in TCP mode

and with TLS (ratios are to direct-tls):

  direct-tls, shim-tls (1,000 rules, TLS on both sides), pgbouncer-tls (on both sides), stunnel (on the client's side)

Arms are interleaved in rounds, in turning order, on the same data; a ratio compares an arm with the direct run of its
own round. CPU per statement is summed over client, server and what stands between (cgroup accounting, kernel time
included). The shim's part is all of the agent: also identity, record, spool and uplink, closed when the collector has
everything; the collector itself is stopped (SIGSTOP) while statements are measured and is in no sum. `moving` is the
agent's CPU within the measured time alone.

Budgets, at the median, for shim-rules: CPU ratio at least 0.78 and more than pgbouncer's and haproxy's in this run; p50
at most 30 us more than direct; shim-tls: CPU ratio at least 0.70 of direct-tls. COPY: throughput ratio 0.95 and CPU
ratio 0.90 (TLS: 0.90 and 0.75). Exit code 1 if one is missed.

usage: shim.py [--rounds N] [--seconds S] [--arms direct,shim,…] [--modes simple,extended,prepared,copy] [--json FILE]
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.bench import shim_sites  # noqa: E402
from tests.bench.watch import CLIENTS, WARM_SECONDS, latencies_between, spread  # noqa: E402
from tests.support import gatehouse, postgres  # noqa: E402

ARMS = ("direct", "shim", "shim-rules", "pgbouncer", "haproxy", "direct-tls", "shim-tls", "pgbouncer-tls", "stunnel")
TLS_ARMS = ("direct-tls", "shim-tls", "pgbouncer-tls", "stunnel")
MODES = ("simple", "extended", "prepared", "copy")
COPY_TIMES = 4  # each of 50 MB

CPU_RATIO_MIN = {False: 0.78, True: 0.70}  # by TLS
P50_ADDED_US_MAX = 30
COPY_RATIOS_MIN = {False: (0.95, 0.90), True: (0.90, 0.75)}  # throughput, CPU


@dataclasses.dataclass
class Run:
    """CPU in microseconds per statement, or per MB of COPY; rate in statements or MB per second."""
    rate: float
    client: float
    server: float
    between: float
    moving: float
    p50: float
    p99: float

    @property
    def cpu(self):
        return self.client + self.server + self.between


def base_of(arm):
    return "direct-tls" if arm in TLS_ARMS else "direct"


class Bench:
    def __init__(self, sites, seconds, directory):
        self.sites, self.seconds, self.directory = sites, seconds, pathlib.Path(directory)

    def run(self, arm, mode):
        is_shim = arm.startswith("shim")
        if is_shim:
            self.sites.start_shim(arm != "shim")
        elif arm in self.sites.ports:
            self.sites.start_peer(arm)
        try:
            return self._copy(arm) if mode == "copy" else self._pgbench(arm, mode)
        finally:
            if is_shim:
                self.sites.stop_shim()

    def _connection(self, arm):
        port = self.sites.ports.get(arm, self.sites.server.port)
        tls = "require" if arm in TLS_ARMS else "disable"
        return (["-h", "127.0.0.1", "-p", str(port), "-U", "bench"],
                {**os.environ, "PGSSLMODE": tls, "PGGSSENCMODE": "disable"})

    def _pgbench(self, arm, mode):
        logs = self.directory / "latencies"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        where, environment = self._connection(arm)
        pgbench = subprocess.Popen(
            [*self.sites.groups["client"].prefix, str(postgres.PGBENCH), "-n", "-S", "-c", str(CLIENTS), "-M", mode,
             "-T", str(math.ceil(WARM_SECONDS + self.seconds)), "-l", "--log-prefix", str(logs / "l"), *where, "bench"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        time.sleep(WARM_SECONDS)
        with self._collector_stopped(arm):
            start, before = time.time(), self._cpu(arm)
            time.sleep(self.seconds - 0.2)
            end, after = time.time(), self._cpu(arm)
            _, errors = pgbench.communicate()
        if pgbench.returncode != 0:
            raise RuntimeError(f"pgbench: {errors}")
        latencies = latencies_between(logs, start, end)
        if not latencies:
            raise RuntimeError(f"{arm}: no statement was answered within the measured time")
        client, server, between = ((a - b) / 1000 / len(latencies) for a, b in zip(after, before))
        moving = between
        if arm.startswith("shim"):
            self._ship()
            between = (self._cpu(arm)[2] - before[2]) / 1000 / len(latencies_between(logs, start, math.inf))
        return Run(len(latencies) / (end - start), client, server, between, moving, statistics.median(latencies),
                   latencies[int(len(latencies) * 0.99)])

    def _copy(self, arm):
        where, environment = self._connection(arm)
        command = [*self.sites.groups["client"].prefix, str(postgres.PSQL), "-X", "-q", *where, "-d", "bench", "-o",
                   "/dev/null"] + ["-c", "copy wide to stdout"] * COPY_TIMES
        megabytes = 50000 * (shim_sites.COPY_ROW_BYTES + 1) * COPY_TIMES / 1e6
        with self._collector_stopped(arm):
            start, before = time.monotonic(), self._cpu(arm)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            seconds, after = time.monotonic() - start, self._cpu(arm)
        client, server, between = ((a - b) / 1000 / megabytes for a, b in zip(after, before))
        moving = between
        if arm.startswith("shim"):
            self._ship()
            between = (self._cpu(arm)[2] - before[2]) / 1000 / megabytes
        return Run(megabytes / seconds, client, server, between, moving, 0, 0)

    def _collector_stopped(self, arm):
        return _Stopped(self.sites.collector.process if arm.startswith("shim") else None)

    def _cpu(self, arm):
        """Of client, server and what stands between."""
        between = "agent" if arm.startswith("shim") else "peer" if arm in self.sites.ports else None
        return [self.sites.groups[name].cpu_ns() if name else 0 for name in ("client", "server", between)]

    def _ship(self):
        """Waits until what the agent has seen can be asked for: a mark made now comes after all of it."""
        mark = f"end{time.time_ns()}"
        gatehouse.probe(self.sites.server, mark)
        deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
        while mark not in self.sites.collector.cli("query", 'session.application == "probe"', "--since", "5m",
                                                   check=False).stdout:
            if time.monotonic() > deadline:
                raise RuntimeError("the agent does not ship what it has seen")
            time.sleep(0.3)


class _Stopped:
    """A process that does not run while this is open."""

    def __init__(self, process):
        self.process = process

    def __enter__(self):
        if self.process:
            self.process.send_signal(signal.SIGSTOP)

    def __exit__(self, *exc):
        if self.process:
            self.process.send_signal(signal.SIGCONT)


def measure(bench, arms, mode, rounds):
    results = []
    for number in range(rounds):
        turn = number % len(arms)
        results.append({arm: bench.run(arm, mode) for arm in arms[turn:] + arms[:turn]})
        print(f"{mode}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return {arm: {
        "cpu_us": spread(r[arm].cpu for r in results),
        "cpu_ratio": spread(r[base_of(arm)].cpu / r[arm].cpu for r in results),
        "rate_ratio": spread(r[arm].rate / r[base_of(arm)].rate for r in results),
        "p50_us": spread(r[arm].p50 for r in results),
        "p50_added_us": spread(r[arm].p50 - r[base_of(arm)].p50 for r in results),
        "p99_us": spread(r[arm].p99 for r in results),
        **{part + "_us": statistics.median(getattr(r[arm], part) for r in results)
           for part in ("client", "server", "between", "moving")},
    } for arm in arms}


def print_table(mode, table, rounds):
    def ratio(of, digits=3):
        return f"{of['median']:.{digits}f} [{of['min']:.{digits}f} {of['max']:.{digits}f}]"

    unit = "MB" if mode == "copy" else "stmt"
    what = "COPY of 1000-byte rows" if mode == "copy" else f"pgbench -S -c {CLIENTS} -M {mode}"
    print(f"\n{what}, {rounds} rounds: median, and [min max] over rounds")
    print(f"{'arm':<14}{'CPU us/' + unit:>12}{'CPU ratio':>22}{'rate ratio':>22}{'p50 us':>8}{'p50 added us':>20}"
          f"{'p99 us':>8}{'client':>9}{'server':>9}{'between':>9}{'moving':>9}")
    for arm, row in table.items():
        print(f"{arm:<14}{row['cpu_us']['median']:>12.2f}{ratio(row['cpu_ratio']):>22}{ratio(row['rate_ratio']):>22}"
              f"{row['p50_us']['median']:>8.0f}{ratio(row['p50_added_us'], 0):>20}{row['p99_us']['median']:>8.0f}"
              f"{row['client_us']:>9.2f}{row['server_us']:>9.2f}{row['between_us']:>9.2f}{row['moving_us']:>9.2f}",
              flush=True)


def judge(tables):
    """Prints each budget and whether it is met; True if all are."""
    good = True

    def say(mode, arm, what, value, holds, bound):
        nonlocal good
        good = good and holds
        print(f"{mode}, {arm}: {what} {value:.3f} {'within' if holds else 'MISSES'} the budget of {bound}")

    for mode, table in tables.items():
        for arm, is_tls in (("shim-rules", False), ("shim-tls", True)):
            if arm not in table:
                continue
            cpu, rate = table[arm]["cpu_ratio"]["median"], table[arm]["rate_ratio"]["median"]
            if mode == "copy":
                rate_min, cpu_min = COPY_RATIOS_MIN[is_tls]
                say(mode, arm, "throughput ratio", rate, rate >= rate_min, rate_min)
                say(mode, arm, "CPU ratio", cpu, cpu >= cpu_min, cpu_min)
                continue
            say(mode, arm, "CPU ratio", cpu, cpu >= CPU_RATIO_MIN[is_tls], CPU_RATIO_MIN[is_tls])
            for peer in ("pgbouncer", "haproxy") if not is_tls else ("pgbouncer-tls", "stunnel"):
                if peer in table:
                    other = table[peer]["cpu_ratio"]["median"]
                    say(mode, arm, f"CPU ratio against {peer}", cpu, cpu > other, f"{other:.3f}")
            if not is_tls:
                added = table[arm]["p50_added_us"]["median"]
                say(mode, arm, "p50 added, us,", added, added <= P50_ADDED_US_MAX, P50_ADDED_US_MAX)
    return good


def parse_arguments():
    parser = argparse.ArgumentParser(description="what the shim costs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one pgbench run")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--ports", type=int, default=int(os.environ.get("GATEHOUSE_TEST_PORTS", "25430")))
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    arguments.arms, arguments.modes = tuple(arguments.arms.split(",")), tuple(arguments.modes.split(","))
    if not set(arguments.arms) <= set(ARMS) or not {base_of(a) for a in arguments.arms} <= set(arguments.arms):
        parser.error(f"arms are {', '.join(ARMS)}; what others are compared with is always needed")
    if not set(arguments.modes) <= set(MODES):
        parser.error(f"modes are {', '.join(MODES)}")
    return arguments


def main():
    arguments = parse_arguments()
    if os.geteuid() != 0:
        sys.exit("this benchmark makes cgroups and loads BPF programs: run it as root")
    print(__doc__.split("\nusage:")[0])
    shim_sites.install_peers()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="gatehouse-bench-"))
    os.chmod(directory, 0o755)
    tables = {}
    sites = shim_sites.Sites(directory, arguments.ports)
    try:
        sites.start(any(arm.startswith("shim") for arm in arguments.arms))
        bench = Bench(sites, arguments.seconds, directory)
        for mode in arguments.modes:
            tables[mode] = measure(bench, arguments.arms, mode, arguments.rounds)
            print_table(mode, tables[mode], arguments.rounds)
    finally:
        sites.close()
        shutil.rmtree(directory)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"benchmark": "shim", "rounds": arguments.rounds,
                                                            "modes": tables}, indent=2) + "\n")
    print()
    return 0 if judge(tables) else 1


if __name__ == "__main__":
    sys.exit(main())
