# SPDX-License-Identifier: Apache-2.0
"""Mixed load with random restarts of clients, server, agent and collector; the oracle balances to the statement.

GATEHOUSE_SOAK_SECONDS is how long it goes on, an hour by hand; GATEHOUSE_SEED repeats a run's choices. A long run is
judged in phases, so that what is held in memory does not grow with it.
"""

import datetime
import os
import signal
import time

from tests.e2e import rounds
from tests.e2e.context import require, require_verified
from tests.support import gatehouse, outages, postgres, serverlog, workload

SECONDS = 10
PHASE_SECONDS = 120
PAUSE_SECONDS = (0.5, 2.5)


class Load(rounds.Load):
    """Scripts with transactions, errors, COPY and long texts besides."""

    def tend(self):
        super().tend()
        for host in self.clients.endpoints():
            place = (host, "psql")
            if place in self._running and self._running[place].poll() is None:
                continue
            self._started += 1
            script = self.clients.directory / f"{self._started}.sql"
            script.write_text(_script(self._started, rounds=20))
            self._running[place] = self.clients.launch("psql", [postgres.PSQL, "-X", "-q", "-f", script], host)


def _script(number, rounds):
    lines = []
    for n in range(rounds):
        def tag(label, at=n):
            return f"/* psql {number}.{at} {label} */"
        lines += [f"begin {tag('begin')};", f"insert into journal (entry) values ('soak') {tag('insert')};",
                  f"select 1/0 {tag('error')};", f"rollback {tag('rollback')};",
                  f"select repeat('x', 20000) {tag('answer')} \\g /dev/null",
                  f"select length('{'y' * 3000}') {tag('long')} \\g /dev/null",
                  f"copy journal (entry) from stdin {tag('copy')};", "one", "two", "\\.",
                  f"select pg_sleep(0.02) {tag('sleep')} \\g /dev/null"]
    return "\n".join(lines) + "\n"


class Totals:
    def __init__(self):
        self.statements = self.recorded = self.not_seen = self.in_gaps = self.unanswered = 0
        self.restarts = self.phases = 0


def soak(context):
    dice, totals = rounds.seeded(), Totals()
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            until = time.monotonic() + float(os.environ.get("GATEHOUSE_SOAK_SECONDS", SECONDS))
            while (left := until - time.monotonic()) > 0:
                _phase(context, server, stack, dice, min(left, PHASE_SECONDS), totals)
            stack.agent.stop()
            require(stack.collector.stop() == 0, "the collector's exit code")
            require_verified(stack)
    require(totals.recorded > 0, "nothing was recorded")
    print(f"    in all: {totals.statements} statements, {totals.recorded} recorded, {totals.not_seen} not seen within "
          f"declared times, {totals.in_gaps} in gaps, {totals.unanswered} unanswered; {totals.restarts} restarts in "
          f"{totals.phases} phases")


def _phase(context, server, stack, dice, seconds, totals):
    since, log_from = time.time(), server.log_file.stat().st_size
    totals.phases += 1
    load = Load(context, server, dice, tag=f"phase{totals.phases}")
    stopped, deck = [], []
    until = time.monotonic() + seconds
    while time.monotonic() < until or deck:
        rounds.load_for(load, dice.uniform(*PAUSE_SECONDS))
        deck = deck or dice.sample(RESTARTS, len(RESTARTS))  # each kind as often, in any order
        totals.restarts += 1
        deck.pop()(server, stack, load, dice, stopped)
    load.wait(failure_expected=True)
    rounds.finish(stack)
    _judge(server, stack, load, since, log_from, stopped, totals)


def _restart_agent(server, stack, load, dice, stopped):
    stopped.append(time.time())
    if dice.random() < 0.5:
        stack.agent.kill()
    else:
        require(stack.agent.stop() == 0, f"the agent's exit code: {stack.agent.process.returncode}")
    rounds.load_for(load, dice.uniform(0, 0.5))
    stack.agent.start()
    rounds.wait_watching(stack.agent, load)


def _restart_collector(server, stack, load, dice, stopped):
    if dice.random() < 0.5:
        stack.collector.kill()
    else:
        require(stack.collector.stop() == 0, f"the collector's exit code: {stack.collector.process.returncode}")
    rounds.load_for(load, dice.uniform(0, 1.5))
    stack.collector.launch()


def _restart_server(server, stack, load, dice, stopped):
    server.stop(signal.SIGINT if dice.random() < 0.5 else signal.SIGQUIT)
    server.launch()


def _kill_client(server, stack, load, dice, stopped):
    if running := load.running():
        dice.choice(running).kill()


RESTARTS = (_restart_agent, _restart_collector, _restart_server, _kill_client)


def _judge(server, stack, load, since, log_from, stopped, totals):
    with open(server.log_file, encoding="utf-8", errors="surrogateescape") as log:
        log.seek(log_from)
        sessions = serverlog.ServerLog(log.read()).by_application("gh:")
    # What began before the phase is the harness's own.
    start = datetime.datetime.fromtimestamp(since, datetime.timezone.utc).isoformat()
    events = _settled(stack.collector, server, start)
    declared = outages.spans(stack.collector.query('kind == "gap" && session.id == ""', since=start))
    verdict, told = outages.compare(sessions, events, load.clients.executables, declared)
    print(f"    phase {totals.phases}: {verdict.matched} recorded, {outages.summary(told, declared)}\n    {verdict}",
          flush=True)
    require(verdict.is_clean, "the record differs from the server's log")
    for moment in stopped:
        require(any(s.since <= moment + 1 and moment <= s.until for s in declared),
                f"no declared time begins with the end of the agent at {moment:.3f}")
    totals.statements += verdict.statements
    totals.recorded += verdict.matched
    totals.not_seen += told["not seen"]
    totals.in_gaps += told["in gaps"]
    totals.unanswered += told["unanswered"]


def _settled(collector, server, start):
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    last, events = -1, []
    while time.monotonic() < deadline:
        found = collector.query(f'database.label == "{gatehouse.label(server)}"', since=start)
        events = [e for e in found if not gatehouse.is_harness(e)]
        if len(events) == last:
            break
        last = len(events)
        time.sleep(2)
    return events
