# SPDX-License-Identifier: Apache-2.0
"""Made and mutated statements on a real server: the facts of each, and the lineage of what it gives, may say more than
it did, never less.

GATEHOUSE_SQL_SECONDS (20) is how long each part goes on; GATEHOUSE_SEED repeats a run's statements.
"""

import json
import os
import subprocess

from tests.e2e.context import require
from tests.e2e.rounds import seeded
from tests.support import gatehouse, postgres

PROGRAMS = gatehouse.BUILD / "tests/sql"
SECONDS = 20
SLACK_SECONDS = 60
LOAD_ROUNDS = 3
OTHER_VERSIONS_SHARE = 4  # of the seconds, for each version but the one that texts are parsed by


def environment_of(server):
    return {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres",
            "PGDATABASE": "postgres"}


def run(server, program, *arguments, seconds=0):
    done = subprocess.run([PROGRAMS / program, *map(str, arguments)], check=False, capture_output=True, text=True,
                          env=environment_of(server), timeout=seconds + SLACK_SECONDS)
    lines = done.stdout.splitlines()
    print("    " + (lines[-1] if lines else done.stderr))
    require(done.returncode == 0, "\n".join(lines[-30:]) + done.stderr)


def seconds_and_seed():
    return int(os.environ.get("GATEHOUSE_SQL_SECONDS", SECONDS)), seeded().randrange(2**32)


def on_server(context):
    seconds, seed = seconds_and_seed()
    with context.server(15, oracle_log=False) as server:
        run(server, "facts_on_server", seed, seconds, seconds=seconds)


def masks(context):
    """Every type's values, masked, given back to the server; and text against binary."""
    with context.server(15, oracle_log=False) as server:
        run(server, "masks_on_server")


def session(context):
    """What SET, RESET, transactions and savepoints leave, against what SHOW says."""
    seconds, seed = seconds_and_seed()
    with context.server(15, oracle_log=False) as server:
        run(server, "session_on_server", seed, seconds, seconds=seconds)


def lineage(context):
    """Marked values in results, against what the lineage says of each column; and harmless queries, which show none."""
    seconds, seed = seconds_and_seed()
    for version in postgres.VERSIONS:
        share = 1 if version == 15 else OTHER_VERSIONS_SHARE
        with context.server(version, oracle_log=False) as server:
            run(server, "lineage_on_server", seed, seconds // share, seconds=seconds)


def catalog(context):
    """What views, triggers, functions and so on do, by the catalog, against what they did; and how it is kept."""
    seconds, seed = seconds_and_seed()
    for version in postgres.VERSIONS:
        if version == 15:
            continue
        # What differs from version to version is in the catalogs, not in the statements.
        with context.server(version, oracle_log=False) as server:
            run(server, "reach_on_server", seed, seconds // OTHER_VERSIONS_SHARE, seconds=seconds)
            run(server, "keeper_on_server")
    with context.server(15, oracle_log=False) as server:
        run(server, "reach_on_server", seed, seconds, seconds=seconds)
        run(server, "keeper_on_server")
        run(server, "load_on_server", LOAD_ROUNDS, seconds=SLACK_SECONDS)
        config = context.directory / "catalog.yaml"
        config.write_text(f"agent: {{state_dir: {context.directory}}}\n"
                          "databases:\n- name: x\n  listen: [1]\n"
                          f"  catalog: {{connection: host=127.0.0.1 port={server.port} user=postgres,\n"
                          "            databases: [postgres, absent]}\n", encoding="utf-8")
        done = subprocess.run([gatehouse.AGENT, "doctor", "--json", "--config", config], check=False,
                              capture_output=True, text=True, timeout=SLACK_SECONDS)
        told = {each["database"]: each for each in json.loads(done.stdout)["catalogs"]}
        require(told["postgres"]["loaded"] and told["postgres"]["functions"] > 0, f"doctor: {told}")
        require("absent" in told["absent"]["error"] and not told["absent"]["loaded"], f"doctor: {told}")
