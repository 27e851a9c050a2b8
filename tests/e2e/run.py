#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the end-to-end scenarios: real servers, real clients, the real kernel.

usage: run.py [--list] [--ports FIRST] [--size N] [--keep] [SCENARIO…]

Each scenario has its own directory, servers, collector and agent. Prints a line for each and ends with
"e2e: N passed, N failed". Exit code 1 if one failed or none ran.
"""

import argparse
import os
import pathlib
import shutil
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.e2e import (bad_input, completeness, context, coverage, crashes, gate, gate_far, gate_holds,  # noqa: E402
                       hard_paths, judged, overload, retention, rounds, sessions, soak, sockets, sql_facts,
                       tls_inside, tools)
from tests.support import gatehouse, workload  # noqa: E402

PORTS_EACH = 6

# name, what it runs
SCENARIOS = (
    ("completeness-15", lambda c: completeness.completeness(c, 15)),
    ("completeness-18", lambda c: completeness.completeness(c, 18)),
    ("completeness-length", lambda c: completeness.completeness(c, 15, "length")),
    ("completeness-syscall", lambda c: completeness.completeness(c, 15, "syscall")),
    ("joined", sessions.joined),
    ("restarted", coverage.restarted),
    ("tls", sessions.tls),
    ("tls-inside", tls_inside.tls_inside),
    ("garbage", sessions.garbage),
    ("hard-paths", hard_paths.hard_paths),
    ("other-networks", hard_paths.other_networks),
    ("other-network-stays", sockets.other_network_stays),
    ("sockets", sockets.sockets),
    ("cost", sockets.cost),
    ("memory", sockets.memory),
    ("kill-agent", crashes.kill_agent),
    ("kill-collector", crashes.kill_collector),
    ("crash-rounds", rounds.crash_rounds),
    ("soak", soak.soak),
    ("rebuild", crashes.rebuild),
    ("retention-age", retention.by_age),
    ("retention-size", retention.by_size),
    ("overload-ring", overload.ring),
    ("overload-agent", overload.stopped_agent),
    ("overload-collector", overload.stopped_collector),
    ("full-collector", overload.full_collector),
    ("overload-spool", overload.full_spool),
    ("rules", judged.rules),
    ("rules-remember", judged.rules_remember),
    ("rules-catalog", judged.rules_with_catalog),
    ("gate-harness", gate.harness),
    ("gate-talks", gate.talks),
    ("gate-refusals", gate.refusals),
    ("gate-refusals-catalog", gate.refusals_by_catalog),
    ("gate-masks", gate.masks),
    ("gate-record", gate.record),
    ("gate-failure", gate.failure),
    ("gate-reload", gate.reload),
    ("gate-peers", gate.peers),
    ("gate-holds", gate_holds.holds),
    ("gate-far", gate_far.far),
    ("gate-far-failure", gate_far.far_failure),
    ("sql-facts", sql_facts.on_server),
    ("sql-masks", sql_facts.masks),
    ("sql-session", sql_facts.session),
    ("sql-catalog", sql_facts.catalog),
    ("sql-lineage", sql_facts.lineage),
    ("replay", tools.replay),
    ("doctor", tools.doctor),
    ("configuration", bad_input.configuration),
    ("port-in-use", bad_input.port_in_use),
    ("not-root", bad_input.not_root),
    ("no-btf", bad_input.no_btf),
    ("wrong-token", bad_input.wrong_token),
    ("command-line", bad_input.command_line),
    ("demo", tools.demo),
)


def run_one(name, scenario, each):
    """True if it passed. On failure the directory stays, and its path is printed."""
    print(f"e2e {name} …", flush=True)
    started = time.monotonic()
    try:
        scenario(each)
    except context.Failed as failure:
        print(f"FAILED {name}: {failure}", flush=True)
    except Exception:  # a scenario that breaks must not keep the others from running
        print(f"FAILED {name}: it broke", flush=True)
        traceback.print_exc(file=sys.stdout)
    else:
        print(f"passed {name} ({time.monotonic() - started:.1f} s)", flush=True)
        return True
    print_logs(each.directory)
    print(f"    everything of it is in {each.directory}", flush=True)
    return False


def print_logs(directory):
    for log in sorted(directory.rglob("*.log")):
        if log.name in ("agent.log", "collector.log"):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            print(f"    --- {log.relative_to(directory)}", *lines, sep="\n    ", flush=True)


def main():
    parser = argparse.ArgumentParser(description="end-to-end tests")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--ports", type=int, default=int(os.environ.get("GATEHOUSE_TEST_PORTS", "25400")))
    parser.add_argument("--size", type=int, default=2, help="scales the workloads")
    parser.add_argument("--keep", action="store_true", help="keep the directories of what passed, too")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    arguments = parser.parse_args()
    if arguments.list:
        print(*(name for name, _ in SCENARIOS), sep="\n")
        return 0
    chosen = [s for s in SCENARIOS if not arguments.scenarios or s[0] in arguments.scenarios]
    unknown = set(arguments.scenarios) - {name for name, _ in SCENARIOS}
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}; see --list")
    if os.geteuid() != 0:
        sys.exit("the end-to-end tests load BPF programs: run them as root")
    for binary in (gatehouse.AGENT, gatehouse.COLLECTOR, gatehouse.CLI):
        if not binary.exists():
            sys.exit(f"{binary} is missing: cmake --preset release && cmake --build build/release")

    base = context.new_directory()
    programs = workload.Programs(base / "programs")
    failed = 0
    for number, (name, scenario) in enumerate(chosen):
        directory = base / name
        directory.mkdir()
        passed = run_one(name, scenario, context.Context(directory, arguments.ports + number % 8 * PORTS_EACH, programs,
                                                         arguments.size))
        failed += not passed
        if passed and not arguments.keep:
            shutil.rmtree(directory)
    if not failed and not arguments.keep:
        shutil.rmtree(base)
    print(f"e2e: {len(chosen) - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
