# SPDX-License-Identifier: Apache-2.0
"""Recording and replay, doctor, and the README's own command."""

import collections
import json
import os
import pathlib
import select
import signal
import subprocess
import time

from tests.e2e.context import judge, require
from tests.support import gatehouse, postgres, workload
from tests.support.oracle import field

DEMO_SECONDS_MAX = 120


def replay(context):
    """`--record` writes what the kernel side saw; `replay` makes the same statements of it."""
    recording = context.directory / "recording.ghcap"
    with context.server() as server:
        workload.prepare(server)
        stack = gatehouse.Stack(context.directory, context.port(0), [server])
        stack.collector.start()
        try:
            stack.agent.start("--record", recording).wait_ready()
            load = context.workload(server)
            load.psql("127.0.0.1", 2)
            load.drivers(str(server.socket_dir), 1)
            load.wait()
            _, events = judge(stack.collector, server, load)
            require(stack.agent.stop() == 0, f"the agent ended badly:\n{stack.agent.tail()}")
        finally:
            stack.__exit__()
        done = subprocess.run([gatehouse.AGENT, "replay", recording], check=False, capture_output=True, text=True,
                              timeout=120)
        require(done.returncode == 0, f"replay: {done.returncode}\n{done.stderr[-2000:]}")
        replayed = [json.loads(line) for line in done.stdout.splitlines()]

        live = collections.Counter(
            (field(e, "session.backend_pid", 0), field(e, "statement.text"), e["outcome"], field(e, "result.rows", 0))
            for e in events if e["kind"] == "statement")
        pids = {key[0] for key in live}
        again = collections.Counter(key for key in map(_replayed_statement, replayed) if key and key[0] in pids)
        require(live and live == again, f"{live.total()} statements live, {again.total()} replayed; e.g. "
                                        f"{list((live - again).items())[:3]} {list((again - live).items())[:3]}")


def _replayed_statement(line):
    """Replay prints events as the schema has them: enumerators by name, 64-bit numbers as text."""
    event = line["event"]
    if "statement" not in event:
        return None
    outcome = event.get("outcome", "OUTCOME_UNKNOWN").removeprefix("OUTCOME_").lower()
    return (field(line, "session.backend_pid", 0), line.get("text", ""), outcome,
            int(field(event, "statement.rows", "0")))


def doctor(context):
    with context.server() as server:
        done = subprocess.run([gatehouse.AGENT, "doctor"], check=False, capture_output=True, text=True, timeout=60)
        require(done.returncode == 0, f"doctor: {done.returncode}\n{done.stdout}{done.stderr}")
        require(str(server.port) in done.stdout, f"doctor does not name the database on {server.port}:\n{done.stdout}")


def demo(context):
    """scripts/run --demo: a statement shows up, Ctrl-C ends all, nothing of it stays."""
    state = context.directory / "demo"
    environment = {**os.environ, "GATEHOUSE_STATE": str(state), "GATEHOUSE_LISTEN": f"127.0.0.1:{context.port(0)}",
                   "GATEHOUSE_DEMO_PORT": str(context.port(1))}
    run = subprocess.Popen([postgres.ROOT / "scripts/run", "--demo"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, start_new_session=True, env=environment,
                           # A terminal's child hears Ctrl-C; one of a shell's background job would ignore it.
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    said = b""
    try:
        deadline = time.monotonic() + DEMO_SECONDS_MAX
        # A statement, an error and the process behind them, on the terminal.
        while not all(word in said for word in (b"select", b"psql", b"gatehouse query", b"22012")):
            require(run.poll() is None, f"scripts/run ended with {run.returncode}:\n{_text(said)}")
            require(time.monotonic() < deadline, f"no statement was printed:\n{_text(said)}")
            if select.select([run.stdout], [], [], 0.5)[0]:
                said += os.read(run.stdout.fileno(), 65536)
    finally:
        os.killpg(run.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
        try:
            rest, _ = run.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            rest, _ = run.communicate()
            require(False, f"Ctrl-C does not end scripts/run:\n{_text(said + rest)}")
    require(run.returncode in (0, 130), f"scripts/run ended with {run.returncode}:\n{_text(said + rest)}")
    left = _processes_of(run.pid, str(state))
    require(not left, f"still running after Ctrl-C: {left}\n{_text(said + rest)}")


def _text(output):
    return output.decode(errors="replace")[-3000:]


def _processes_of(session, word):
    """Command lines of processes in this process session, or that name `word`."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        state, _, _, of_session = stat.rpartition(")")[2].split()[:4]
        if (int(of_session) == session or word in command) and state != "Z":
            found.append(command)
    return found
