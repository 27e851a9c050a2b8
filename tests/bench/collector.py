#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the collector costs: durable, acknowledged and indexed events per second of its CPU; how soon it acknowledges
and answers; what an event takes on disk; what questions take when it holds many.

A real gatehouse-collector in a cgroup of its own, real sockets, mutual TLS. The agents are collector_load: batches of
500 events made by the agent's own code (tests/bench/event_source.h), sent by the agent's own client.

  ingest   several agents as fast as they may; the CPU of the whole process until everything is indexed and loaded
  paced    a given rate, segments sealed every few seconds, retention at work: latency of acknowledgements, and how long
           an acknowledged event is not yet in the answers
  size     events of three days are added until there are SIZE, then questions are asked (only with --size)

Budgets (exit code 1 if one is missed): events per CPU-second >= 120,000; acknowledged p50 <= 3 ms and p99 <= 20 ms;
visible within 2 s; <= 130 bytes per event on disk, log and index together; <= 1 GiB resident; who and one hour, latest
100 <= 100 ms; group by over a day <= 300 ms (medians).

usage: collector.py [--events N] [--rate N] [--size N] [--json FILE] [--port N] [--parts ingest,paced,size]
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.support import gatehouse  # noqa: E402
from tests.support.cgroup import Cgroup  # noqa: E402

LOAD = gatehouse.BUILD / "tests/bench/collector_load"
DAY_NS = 86_400 * 10**9
STILL_SECONDS = 2.5  # without CPU: the collector has caught up


class Bench:
    def __init__(self, directory, port, settings=""):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.group = Cgroup(f"collector-{self.directory.name}")
        self.collector = gatehouse.Collector(self.directory, port)
        self.collector.prefix = self.group.prefix
        self.collector.settings = settings
        self.seed = 0
        self.collector.start()
        self.peak_bytes = 0
        self.is_over = False
        self.watcher = threading.Thread(target=self._watch_memory, daemon=True)
        self.watcher.start()

    def close(self):
        self.is_over = True
        self.watcher.join()
        self.collector.stop()
        self.group.remove()

    def _watch_memory(self):
        while not self.is_over:
            try:
                status = pathlib.Path(f"/proc/{self.collector.process.pid}/status").read_text()
                peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                self.peak_bytes = int(peak.split()[1]) * 1024
            except (OSError, StopIteration):
                pass
            time.sleep(0.2)

    def load(self, **values):
        self.seed += 1
        arguments = [f"{name}={value}" for name, value in {**values, "seed": self.seed}.items()]
        done = subprocess.run([LOAD, "load", self.collector.address, self.directory / "agents",
                               self.collector.state / "operator", *arguments], check=False, capture_output=True,
                              text=True)
        if done.returncode != 0:
            raise RuntimeError(f"collector_load: {done.stderr}{self.collector.tail()}")
        return json.loads(done.stdout)

    def ask(self, first_ns, last_ns, rounds):
        done = subprocess.run([LOAD, "ask", self.collector.address, self.collector.state / "operator", str(first_ns),
                               str(last_ns), str(rounds)], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"collector_load: {done.stderr}{self.collector.tail()}")
        return json.loads(done.stdout)

    def wait_still(self):
        """Until the collector uses next to no CPU; the CPU it had used when it became still."""
        used, since = self.group.cpu_ns(), time.monotonic()
        while time.monotonic() - since < STILL_SECONDS:
            time.sleep(0.25)
            now = self.group.cpu_ns()
            if now - used > 30_000_000:
                used, since = now, time.monotonic()
        return used

    def disk_bytes(self):
        total = {}
        for part in ("ledger", "store"):
            folder = self.collector.state / part
            total[part] = sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())
        return total


def now_ns():
    return time.time_ns()


def ingest(bench, events):
    before = bench.wait_still()
    result = bench.load(events=events, agents=4, window=8, first_ns=now_ns() - DAY_NS)
    after = bench.wait_still()
    cpu = (after - before) / 1e9
    disk = bench.disk_bytes()
    result |= {"cpu_seconds": round(cpu, 3), "events_per_cpu_second": round(result["events"] / cpu),
               "us_per_event": round(cpu * 1e6 / result["events"], 2),
               "bytes_per_event": round(sum(disk.values()) / result["events"], 1),
               "ledger_bytes_per_event": round(disk["ledger"] / result["events"], 1),
               "store_bytes_per_event": round(disk["store"] / result["events"], 1),
               "plain_bytes_per_event": round(result.pop("plain_bytes") / result["events"], 1)}
    return result


def paced(bench, rate, seconds):
    return bench.load(events=rate * seconds, agents=4, window=64, rate=rate, probe=1, first_ns=now_ns() - DAY_NS)


def size(bench, events):
    """The events of three days."""
    first = now_ns() - 3 * DAY_NS
    started = time.monotonic()
    loaded = bench.load(events=events, agents=4, window=8, first_ns=first, step_ns=3 * DAY_NS // events)
    bench.wait_still()
    disk = bench.disk_bytes()
    # A restart, so that nothing is asked from what only a long run keeps.
    bench.collector.stop()
    bench.collector.start()
    bench.wait_still()
    return {"events": loaded["events"], "seconds": round(time.monotonic() - started, 1),
            "bytes_per_event": round(sum(disk.values()) / loaded["events"], 1),
            "questions": bench.ask(first, loaded["last_ns"], 7)}


def check(results):
    """Budgets that are missed, as text."""
    missed = []

    def expect(what, value, budget, at_least=False):
        holds = value >= budget if at_least else value <= budget
        print(f"  {'ok  ' if holds else 'MISS'} {what}: {value:,} (budget {'>=' if at_least else '<='} {budget:,})")
        if not holds:
            missed.append(what)

    if "ingest" in results:
        expect("events per CPU-second", results["ingest"]["events_per_cpu_second"], 120_000, at_least=True)
        expect("bytes per event on disk", results["ingest"]["bytes_per_event"], 130)
    if "paced" in results:
        expect("acknowledged, p50, ms", results["paced"]["ack_p50_ms"], 3)
        expect("acknowledged, p99, ms", results["paced"]["ack_p99_ms"], 20)
        expect("visible, max, ms", results["paced"]["visible_max_ms"], 2000)
    if "size" in results:
        questions = results["size"]["questions"]
        expect("bytes per event on disk at size", results["size"]["bytes_per_event"], 130)
        for name in ("who_hour", "who_last_hour", "exe_and_verb_hour"):
            expect(f"{name}, ms", questions[name]["median_ms"], 100)
        for name in (n for n in questions if n.startswith("top_day_")):
            expect(f"{name}, ms", questions[name]["median_ms"], 300)
    expect("resident, MiB", results["resident_mib"], 1024)
    return missed


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--json")
    parser.add_argument("--port", type=int, default=26200)
    parser.add_argument("--parts", default="ingest,paced,size")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="gatehouse-bench-"))
    results = {"benchmark": "collector", "load_average": os.getloadavg()[0], "resident_mib": 0}
    try:
        for part in parts:
            if part == "size" and arguments.size == 0:
                continue
            settings = "segment:\n  bytes_max: 4MiB\n" if part == "paced" else ""
            bench = Bench(directory / part, arguments.port, settings)
            try:
                if part == "ingest":
                    results[part] = ingest(bench, arguments.events)
                elif part == "paced":
                    results[part] = paced(bench, arguments.rate, arguments.seconds)
                else:
                    results[part] = size(bench, arguments.size)
            finally:
                bench.close()
            results[part]["peak_mib"] = round(bench.peak_bytes / 2**20)
            results["resident_mib"] = max(results["resident_mib"], results[part]["peak_mib"])
            shutil.rmtree(directory / part)
            print(f"{part}: {json.dumps(results[part], indent=2)}", flush=True)
    finally:
        shutil.rmtree(directory)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")
    print(f"load average before: {results['load_average']:.2f}")
    return 1 if check(results) else 0


if __name__ == "__main__":
    sys.exit(main())
