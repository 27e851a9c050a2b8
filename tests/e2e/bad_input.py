# SPDX-License-Identifier: Apache-2.0
"""What goes wrong before anything runs: one clear line that says what to do, and the right exit code."""

import socket
import subprocess

from tests.e2e.context import require
from tests.support import gatehouse

CONFIGURATION = 78  # sysexits.h EX_CONFIG


def _run(command, seconds_max=20, **kwargs):
    """A daemon that is expected to refuse: its exit code and what it said."""
    try:
        done = subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=seconds_max, **kwargs)
    except subprocess.TimeoutExpired:
        return "still running", ""
    return done.returncode, done.stderr


def _require(result, code, *words, what):
    returned, said = result
    require(returned == code, f"{what}: exit code {returned} for {code}\n{said}")
    complaints = [line for line in said.splitlines()
                  if line.startswith("gatehouse") and all(word.lower() in line.lower() for word in words)]
    require(len(complaints) == 1, f"{what}: {len(complaints)} lines with {words}:\n{said}")
    require(len(complaints[0]) < 400, f"{what}: not a clear line: {complaints[0]}")


def configuration(context):
    """Unknown keys and values out of range name file and line."""
    for program, section in ((gatehouse.AGENT, "agent"), (gatehouse.COLLECTOR, "collector")):
        config = context.directory / f"{section}.yaml"
        config.write_text(f"{section}:\n  name: x\n  state_dirr: /tmp/x\n")
        _require(_run([program, "--config", config]), CONFIGURATION, f"{config}:3", "state_dir",
                 what=f"{section}: unknown key")
        config.write_text(f"log:\n  level: loud\n{section}:\n  name: x\n")
        _require(_run([program, "--config", config]), CONFIGURATION, f"{config}:2", "level",
                 what=f"{section}: bad value")
        missing = context.directory / "no-such.yaml"
        _require(_run([program, "--config", missing]), CONFIGURATION, str(missing), what=f"{section}: no such file")


def port_in_use(context):
    collector = gatehouse.Collector(context.directory, context.port(0))
    with socket.create_server(("127.0.0.1", context.port(0))):
        collector.config.write_text(f"collector:\n  state_dir: {collector.state}\n  listen: {collector.address}\n")
        _require(_run([gatehouse.COLLECTOR, "--config", collector.config]), 1, str(context.port(0)),
                 "another process", what="port in use")


def not_root(context):
    config = context.directory / "agent.yaml"
    state = context.directory / "state"
    state.mkdir()
    state.chmod(0o777)
    config.write_text(f"agent:\n  state_dir: {state}\ncollector:\n  address: 127.0.0.1:{context.port(0)}\n")
    # The binary may stand where nobody can reach it; a copy can be run.
    copy = context.directory / "gatehouse-agent"
    copy.write_bytes(gatehouse.AGENT.read_bytes())
    copy.chmod(0o755)
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    _require(_run([*nobody, copy, "--config", config]), 1, "root", what="not root")


def no_btf(context):
    """A kernel without BTF, played by hiding it in a mount namespace."""
    config = context.directory / "agent.yaml"
    config.write_text(f"agent:\n  state_dir: {context.directory / 'state'}\n"
                      f"collector:\n  address: 127.0.0.1:{context.port(0)}\n")
    hide = 'mount -t tmpfs none /sys/kernel/btf && exec "$@"'
    result = _run(["unshare", "--mount", "sh", "-c", hide, "sh", gatehouse.AGENT, "--config", config])
    _require(result, 1, "BTF", what="no BTF")
    require(len(result[1].splitlines()) == 1, f"no BTF: more than one line:\n{result[1]}")


def wrong_token(context):
    collector = gatehouse.Collector(context.directory / "c", context.port(0))
    collector.start()
    try:
        token = collector.token()
        # The same shape, another secret: the last characters are turned over.
        forged = token[:-8] + token[-8:][::-1] if token[-8:] != token[-8:][::-1] else token[:-1] + "0"
        for name, text in (("forged", forged), ("nonsense", "hello"), ("empty", "")):
            agent = gatehouse.Agent(context.directory / name, collector, [])
            agent.token_file.write_text(text + "\n")
            agent.write_config()
            _require(_run([gatehouse.AGENT, "--config", agent.config]), CONFIGURATION, "token", what=f"{name} token")
        # A token enrols one agent.
        first = gatehouse.Agent(context.directory / "first", collector, [])
        first.token_file.write_text(token + "\n")
        first.write_config()
        first.run(gatehouse.AGENT, "--config", first.config)
        first.wait_until(lambda: '"e2e-agent-' in collector.cli("agents", check=False).stdout, "enrolment")
        first.stop()
        second = gatehouse.Agent(context.directory / "second", collector, [], name="second")
        second.token_file.write_text(token + "\n")
        second.write_config()
        _require(_run([gatehouse.AGENT, "--config", second.config]), CONFIGURATION, "token", what="used token")
    finally:
        collector.stop()


def command_line(context):
    """The CLI's own refusals."""
    collector = gatehouse.Collector(context.directory / "c", context.port(0))
    collector.start()
    try:
        for arguments, words in ((["query", 'statement.txt == "x"'], ("statement.text",)),
                                 (["query", 'statement.text == "x'], ("filter",)),
                                 (["session", "no-such-session"], ("session",))):
            done = collector.cli(*arguments, check=False)
            require(done.returncode not in (0, -6, -11), f"{arguments}: exit code {done.returncode}")
            require(all(w in done.stderr for w in words), f"{arguments}: {done.stderr}")
    finally:
        collector.stop()
    done = collector.cli("agents", check=False)
    require(done.returncode != 0 and str(context.port(0)) in done.stderr, f"no collector: {done.stderr}")
