#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a watched host pays besides the price of a statement (for that: scripts/bench watch).

  copy   COPY of 1 GiB out of a server: CPU of client, server and agent, watched against plain
  dd     `dd bs=1`, a process that makes system calls and has nothing to do with a database: its speed beside an agent
  rate   2,000 statements a second, as a busy application sends them: the agent's share of one processor
  idle   an agent with open sessions that say nothing: the same

Plain and watched runs are interleaved, in turning order; a ratio compares two runs of the same round. CPU is cgroup
accounting, kernel time included; dd is judged by its own CPU time, because a shared machine's clock says little. The
collector belongs on another machine and is in no sum; it is stopped (SIGSTOP) while something is measured, but not for
`rate` and `idle`, where an agent that cannot ship would be measured.

Budgets, at the median: copy >= 0.95; dd >= 0.99; rate <= 1 % of a processor; idle <= 0.2 %. Exit code 1 if one is
missed.

usage: host.py [--rounds N] [--parts copy,dd,rate,idle] [--copy-mib N] [--seconds S] [--json FILE]
"""

import argparse
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.bench.watch import CLIENTS, Bench, spread  # noqa: E402
from tests.support import postgres  # noqa: E402

# What each part measures: the unit, the budget, and whether more is better.
BUDGETS = {
    "copy": ("CPU ratio", 0.95, True),
    "dd": ("speed ratio", 0.99, True),
    "rate": ("per cent of a processor", 1.0, False),
    "idle": ("per cent of a processor", 0.2, False),
}
RATE = 2000
ROW_BYTES = 1000
DD_BYTES = 3_000_000
IDLE_SESSIONS = 20


class Host:
    def __init__(self, bench, arguments):
        self.bench = bench
        self.arguments = arguments
        self.is_watched = False

    def watch(self, on):
        if on != self.is_watched:
            if on:
                self.bench.agent.start().wait_ready()
            else:
                self.bench.agent.stop()
        self.is_watched = on

    def ratio(self, cost, turn):
        """Plain over watched, of one round."""
        costs = {}
        for on in (True, False) if turn % 2 else (False, True):
            self.watch(on)
            if on:
                self.bench.collector.process.send_signal(signal.SIGSTOP)
            try:
                costs[on] = cost()
            finally:
                if on:
                    self.bench.collector.process.send_signal(signal.SIGCONT)
        return costs[False] / costs[True]

    def copy(self, turn):
        return self.ratio(self._copy_cpu, turn)

    def _copy_cpu(self):
        server, groups = self.bench.server, ("client", "server", "agent")
        rows = self.arguments.copy_mib * (1 << 20) // (ROW_BYTES + 1)
        before = self._cpu(groups)
        subprocess.run([*self.bench.groups["client"].prefix, "psql", "-X", "-q", "-h", "127.0.0.1", "-p",
                        str(server.port), "-U", "bench", "-d", "bench", "-c",
                        f"copy (select repeat('x', {ROW_BYTES}) from generate_series(1, {rows})) to stdout"],
                       check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PGSSLMODE": "disable"})
        return self._cpu(groups) - before

    def dd(self, turn):
        return self.ratio(self._dd_cpu, turn)

    def _dd_cpu(self):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={DD_BYTES}"], check=True,
                       stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def rate(self, _):
        self.watch(True)
        # Connections are opened, and what that costs is paid, before the middle of the run is measured.
        seconds = self.arguments.seconds
        load = subprocess.Popen([*self.bench.groups["client"].prefix, str(postgres.PGBENCH), "-n", "-S", "-c",
                                 str(CLIENTS), "-R", str(RATE), "-T", str(int(seconds) + 3), "-h", "127.0.0.1", "-p",
                                 str(self.bench.server.port), "-U", "bench", "bench"], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, env={**os.environ, "PGSSLMODE": "disable"})
        time.sleep(1.5)
        share = self._agent_share()
        if load.wait() != 0:
            raise RuntimeError("pgbench failed")
        return share

    def idle(self, _):
        self.watch(True)
        sessions = [subprocess.Popen(["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(self.bench.server.port), "-U",
                                      "bench", "-d", "bench"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                     env={**os.environ, "PGSSLMODE": "disable"}) for _ in range(IDLE_SESSIONS)]
        time.sleep(2)
        share = self._agent_share()
        for session in sessions:
            session.communicate()
        return share

    def _agent_share(self):
        """Per cent of a processor, over --seconds."""
        start, before = time.monotonic(), self._cpu(("agent",))
        time.sleep(self.arguments.seconds)
        return 100 * (self._cpu(("agent",)) - before) / 1e9 / (time.monotonic() - start)

    def _cpu(self, names):
        return sum(self.bench.groups[name].cpu_ns() for name in names)


def measure(host, part, rounds):
    values = []
    for turn in range(rounds):
        values.append(getattr(host, part)(turn))
        print(f"{part}: round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    unit, budget, is_more_better = BUDGETS[part]
    row = {**spread(values), "unit": unit, "budget": budget}
    row["is_within"] = row["median"] >= budget if is_more_better else row["median"] <= budget
    print(f"{part:<6}{row['median']:>8.3f} [{row['min']:.3f} {row['max']:.3f}] {unit}: "
          f"{'within' if row['is_within'] else 'MISSES'} the budget of {budget}", flush=True)
    return row


def parse_arguments():
    parser = argparse.ArgumentParser(description="what a watched host pays besides the price of a statement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", default=",".join(BUDGETS))
    parser.add_argument("--copy-mib", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long rate and idle are measured")
    parser.add_argument("--ports", type=int, default=int(os.environ.get("GATEHOUSE_TEST_PORTS", "25430")))
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split(",")
    if not set(arguments.parts) <= set(BUDGETS):
        parser.error(f"parts are {', '.join(BUDGETS)}")
    return arguments


def main():
    arguments = parse_arguments()
    with Bench.opened(__doc__, arguments, ("plain", "watched")) as bench:
        host = Host(bench, arguments)
        rows = {part: measure(host, part, arguments.rounds) for part in arguments.parts}
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"benchmark": "host", "parts": rows}, indent=2) + "\n")
    return 0 if all(row["is_within"] for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
