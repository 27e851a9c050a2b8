# SPDX-License-Identifier: Apache-2.0
"""Made and mutated statements on a real server: the facts of each may say more than it did, never less.

GATEHOUSE_SQL_SECONDS (20) is how long it goes on; GATEHOUSE_SEED repeats a run's statements.
"""

import os
import subprocess

from tests.e2e.context import require
from tests.e2e.rounds import seeded
from tests.support import gatehouse

PROGRAM = gatehouse.BUILD / "tests/sql/facts_on_server"
SECONDS = 20
SLACK_SECONDS = 60


def on_server(context):
    seconds = int(os.environ.get("GATEHOUSE_SQL_SECONDS", SECONDS))
    seed = seeded().randrange(2**32)
    with context.server(15, oracle_log=False) as server:
        environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres",
                       "PGDATABASE": "postgres"}
        done = subprocess.run([PROGRAM, str(seed), str(seconds)], check=False, capture_output=True, text=True,
                              env=environment, timeout=seconds + SLACK_SECONDS)
    lines = done.stdout.splitlines()
    print("    " + (lines[-1] if lines else done.stderr))
    require(done.returncode == 0, "\n".join(lines[-30:]) + done.stderr)
