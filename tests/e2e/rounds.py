# SPDX-License-Identifier: Apache-2.0
"""kill -9 of agent and collector, again and again, at random points under load; an oracle that counts at the end.

GATEHOUSE_SEED repeats a run's choices (not its timing), GATEHOUSE_CRASH_ROUNDS sets how many rounds there are.
"""

import json
import os
import random
import time

from tests.e2e.context import log_of, require, require_contiguous, require_verified
from tests.support import gatehouse, outages, postgres, workload

ROUNDS = 5
VICTIMS = ("agent", "agent", "collector", "collector", "both")


def seeded():
    """What makes the choices; its seed is printed, so that a failure can be tried again."""
    seed = int(os.environ.get("GATEHOUSE_SEED", time.time_ns() % 1_000_000))
    print(f"    GATEHOUSE_SEED={seed}")
    return random.Random(seed)


class Load:
    """Clients of several kinds that are started anew as they end. No text repeats within a session."""

    def __init__(self, context, server, dice, tag="w"):
        self.clients = context.workload(server, tag)
        self.dice = dice
        self._running = {}
        self._started = 0

    def tend(self):
        """Starts what has ended."""
        for host in self.clients.endpoints()[::2]:
            self._keep((host, "short"), host, "-C", "-c", "2", "-j", "2", "-M", "simple", "-R", "60")
            self._keep((host, "long"), host, "-c", "2", "-M", "simple", "-R", "120")
            self._keep((host, "prepared"), host, "-c", "1", "-M", "prepared", "-R", "40")
            self._keep((host, "extended"), host, "-C", "-c", "1", "-M", "extended", "-R", "20")

    def running(self):
        return [p for p in self._running.values() if p.poll() is None]

    def wait(self, failure_expected=False):
        self.clients.wait(failure_expected)

    def _keep(self, place, host, *options):
        if place in self._running and self._running[place].poll() is None:
            return
        self._started += 1
        script = self.clients.directory / f"{self._started}.sql"
        script.write_text(f"\\set n :n + 1\nselect :n::int /* {place[1]} {self._started} */;\n")
        seconds = str(self.dice.randint(2, 6))
        self._running[place] = self.clients.launch(
            "pgbench", [postgres.PGBENCH, "-n", "-D", "n=0", "-T", seconds, *options, "-f", script], host)


def crash_rounds(context):
    dice = seeded()
    rounds = int(os.environ.get("GATEHOUSE_CRASH_ROUNDS", ROUNDS))
    with context.server() as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            load, acknowledged, killed = Load(context, server, dice), set(), []
            for _ in range(rounds):
                _round(stack, load, dice, acknowledged, killed)
            load.wait()
            finish(stack)
            judge(stack, server, load, acknowledged, killed)


def _round(stack, load, dice, acknowledged, killed):
    """Some load, a kill, a start that mostly is not waited for."""
    if dice.random() < 0.7:
        wait_watching(stack.agent, load)
    load_for(load, dice.uniform(0.2, 1.5))
    victim = dice.choice(VICTIMS)
    if victim != "collector" and dice.random() < 0.5:
        remember(stack.collector, acknowledged)
    if victim != "collector":
        killed.append(time.time())
        stack.agent.kill()
    if victim != "agent":
        stack.collector.kill()
    load_for(load, dice.uniform(0, 0.5))
    if victim != "agent":
        stack.collector.launch()
    if victim != "collector":
        stack.agent.start()


def wait_watching(agent, load):
    while not agent.says(" agent watching "):
        require(agent.is_running, f"the agent ended by itself:\n{agent.tail()}")
        load_for(load, 0.1)


def load_for(load, seconds):
    until = time.monotonic() + seconds
    while True:
        load.tend()
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.2))


def remember(collector, acknowledged):
    """What can be asked for now must always be there. No answer from a collector that is just starting is none."""
    done = collector.cli("query", "--since", "5s", "--limit", "0", check=False)
    if done.returncode == 0:
        acknowledged.update(json.loads(line)["id"] for line in done.stdout.splitlines())


def finish(stack):
    """Both run and are done with what there was."""
    stack.collector.wait_answering()
    stack.agent.wait_ready()


def judge(stack, server, load, acknowledged, killed):
    sessions = log_of(server)
    events = settled(stack.collector, server)
    declared = outages.spans(stack.collector.query('kind == "gap" && session.id == ""'))
    verdict, told = outages.compare(sessions, events, load.clients.executables, declared)
    print(f"    {verdict.matched} recorded, {outages.summary(told, declared)}, for {len(killed)} kills of the agent; "
          f"{len(acknowledged)} remembered\n    {verdict}")
    require(verdict.is_clean, "the record differs from the server's log")
    require(verdict.matched > 0, "nothing was recorded")
    for kill in killed:
        require(any(s.since <= kill <= s.until for s in declared), f"no declared time holds the kill at {kill:.3f}")
    ids = {e["id"] for e in stack.collector.query()}
    require(acknowledged <= ids, f"{len(acknowledged - ids)} events are gone that were there")
    require_contiguous(stack.collector)
    require_verified(stack)


def settled(collector, server):
    """The events once no more follow."""
    deadline = time.monotonic() + gatehouse.SETTLE_SECONDS_MAX
    last, events = -1, []
    while time.monotonic() < deadline:
        events = gatehouse.events_of(collector, server)
        if len(events) == last:
            break
        last = len(events)
        time.sleep(2)
    return events
