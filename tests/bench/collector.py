#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the collector costs: durable, acknowledged and indexed events per second of its CPU; how soon it acknowledges
and answers; what an event takes on disk; what questions take when it holds many.

A real gatehouse-collector in a cgroup of its own, real sockets, mutual TLS. The agents are collector_load: batches of
500 events made by the agent's own code (tests/bench/event_source.h), sent by the agent's own client.

  ingest   several agents as fast as they may; the CPU of the whole process until everything is indexed and loaded
  paced    a given rate, segments sealed every few seconds, retention at work: latency of acknowledgements, and how long
           an acknowledged event is not yet in the answers
  size     events of three days are added until there are SIZE, then questions are asked
  aged     paced again, on what `size` has filled, while retention removes its oldest segments

Budgets (exit code 1 if one is missed): events per CPU-second >= 120,000; acknowledged p50 <= 3 ms and p99 <= 20 ms;
visible within 2 s; <= 130 bytes per event on disk, log and index together; <= 1 GiB resident; who and one hour, latest
100 <= 100 ms; group by over a day <= 300 ms (medians).

Filling 10 million events takes some minutes; --keep DIR leaves them there, and the next run with the same DIR goes on
from what it finds.

usage: collector.py [--parts ingest,paced,size,aged] [--events N] [--rate N] [--seconds N] [--size N] [--keep DIR]
                    [--json FILE] [--port N]
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
FILL_EVENTS = 500_000  # of one step of filling
ASK_ROUNDS = 7
# Sealed about every three seconds at 20,000 events/s.
SMALL_SEGMENTS = "segment:\n  bytes_max: 4MiB\n"


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
                self.peak_bytes = max(self.peak_bytes, int(peak.split()[1]) * 1024)
            except (OSError, StopIteration):
                pass
            time.sleep(0.2)

    def restart(self, settings=""):
        self.collector.stop()
        self.collector.settings = settings
        self.collector.start()
        self.wait_still()

    def segments(self):
        """How many were sealed and how many removed since the log began: they are numbered from 1, the last is open."""
        ledger = self.collector.state / "ledger"
        return (max((int(path.stem) for path in ledger.glob("*.segment")), default=1) - 1,
                len(list(ledger.glob("*.heads"))))

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


def retention(bytes_max):
    return f"retention:\n  bytes_max: {bytes_max}\n"


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
    """Sealing, loading and removing segments all the while; if one of them never happened, nothing was measured."""
    sealed, removed = bench.segments()
    result = bench.load(events=rate * seconds, agents=4, window=64, rate=rate, probe=1, first_ns=now_ns() - DAY_NS)
    now_sealed, now_removed = bench.segments()
    result |= {"segments_sealed": now_sealed - sealed, "segments_removed": now_removed - removed}
    if min(result["segments_sealed"], result["segments_removed"]) < 1:
        raise RuntimeError(f"no segment was sealed, or none removed: {result}")
    return result


def fill(bench, events):
    """Adds events of three days until there are so many; what there is then."""
    notes = bench.directory / "filled.json"
    if notes.exists():
        filled = json.loads(notes.read_text())
    else:
        filled = {"events": 0, "first_ns": now_ns() - 3 * DAY_NS, "step_ns": 3 * DAY_NS // events}
    bench.seed = filled["events"] // FILL_EVENTS
    started, before = time.monotonic(), filled["events"]
    while filled["events"] < events:
        first = filled["first_ns"] + filled["events"] * filled["step_ns"]
        added = bench.load(events=min(FILL_EVENTS, events - filled["events"]), agents=4, window=8, first_ns=first,
                           step_ns=filled["step_ns"])["events"]
        filled["events"] += added
        notes.write_text(json.dumps(filled))
        rate = (filled["events"] - before) / (time.monotonic() - started)
        print(f"size: {filled['events']:,} of {events:,} events, {rate:,.0f} a second, "
              f"{(events - filled['events']) / rate:.0f} s left", file=sys.stderr, flush=True)
    return filled


def size(bench, events):
    """The events of three days."""
    filled = fill(bench, events)
    bench.wait_still()
    disk = bench.disk_bytes()
    # A restart, so that nothing is asked from what only a long run keeps.
    bench.restart()
    last = filled["first_ns"] + filled["events"] * filled["step_ns"]
    return {"events": filled["events"], "bytes_per_event": round(sum(disk.values()) / filled["events"], 1),
            "ledger_bytes_per_event": round(disk["ledger"] / filled["events"], 1),
            "store_bytes_per_event": round(disk["store"] / filled["events"], 1),
            "questions": bench.ask(filled["first_ns"], last, ASK_ROUNDS)}


def aged(bench, rate, seconds):
    """Retention takes its first segments at once, and then one for each that is added."""
    bench.restart(SMALL_SEGMENTS + retention(bench.disk_bytes()["ledger"]))
    return paced(bench, rate, seconds)


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
    for part in [p for p in ("paced", "aged") if p in results]:
        expect(f"{part}: acknowledged, p50, ms", results[part]["ack_p50_ms"], 3)
        expect(f"{part}: acknowledged, p99, ms", results[part]["ack_p99_ms"], 20)
        expect(f"{part}: visible, max, ms", results[part]["visible_max_ms"], 2000)
    if "size" in results:
        questions = results["size"]["questions"]
        expect("bytes per event on disk at size", results["size"]["bytes_per_event"], 130)
        for name in ("who_hour", "who_last_hour", "exe_and_verb_hour", "latest"):
            expect(f"{name}, ms", questions[name]["median_ms"], 100)
        for name in (n for n in questions if n.startswith("top_day_")):
            expect(f"{name}, ms", questions[name]["median_ms"], 300)
    expect("resident, MiB", results["resident_mib"], 1024)
    return missed


def run_parts(arguments, directory):
    results = {"benchmark": "collector", "load_average": os.getloadavg()[0], "resident_mib": 0}
    filled = pathlib.Path(arguments.keep) if arguments.keep else directory / "size"
    for part in arguments.parts.split(","):
        is_filled = part in ("size", "aged")
        settings = SMALL_SEGMENTS + retention("12MiB") if part == "paced" else ""
        bench = Bench(filled if is_filled else directory / part, arguments.port, settings)
        try:
            if part == "ingest":
                results[part] = ingest(bench, arguments.events)
            elif part == "size":
                results[part] = size(bench, arguments.size)
            else:
                results[part] = {"paced": paced, "aged": aged}[part](bench, arguments.rate, arguments.seconds)
        finally:
            bench.close()
        results[part]["peak_mib"] = round(bench.peak_bytes / 2**20)
        results["resident_mib"] = max(results["resident_mib"], results[part]["peak_mib"])
        if not is_filled:
            shutil.rmtree(directory / part)
        print(f"{part}: {json.dumps(results[part], indent=2)}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1])
    parser.add_argument("--parts", default="ingest,paced,size,aged")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--size", type=int, default=10_000_000)
    parser.add_argument("--keep")
    parser.add_argument("--json")
    parser.add_argument("--port", type=int, default=26200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as directory:
        results = run_parts(arguments, pathlib.Path(directory))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")
    print(f"load average before: {results['load_average']:.2f}")
    return 1 if check(results) else 0


if __name__ == "__main__":
    sys.exit(main())
