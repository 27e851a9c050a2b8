# SPDX-License-Identifier: Apache-2.0
"""Sessions that are encrypted end to end, read like any other: nothing is configured in client or server."""

import json
import os
import subprocess

from tests.e2e.context import judge, require, require_clean, require_contiguous
from tests.support import postgres, workload
from tests.support.oracle import field

# What a server may be told to speak: its settings, and TLS 1.2's suites where they are what is tried.
WAYS = (
    ("1.3", {"ssl_min_protocol_version": "TLSv1.3"}),
    ("1.2-gcm", {"ssl_max_protocol_version": "TLSv1.2", "ssl_ciphers": "ECDHE-RSA-AES256-GCM-SHA384"}),
    ("1.2-chacha", {"ssl_max_protocol_version": "TLSv1.2", "ssl_ciphers": "ECDHE-RSA-CHACHA20-POLY1305"}),
    ("1.2-cbc", {"ssl_max_protocol_version": "TLSv1.2", "ssl_ciphers": "ECDHE-RSA-AES128-SHA256"}),
)
TLS_ENVIRONMENT = {"PGSSLMODE": "require"}


def _run(context, server):
    load = context.workload(server)
    load.environment = TLS_ENVIRONMENT
    load.psql("127.0.0.1", context.size)
    load.pgbench("127.0.0.1", 40 * context.size)
    load.drivers("127.0.0.1", context.size)
    return load, load.wait()


def _require_inside(stack, server, events):
    """Each session was encrypted, and each was read whole."""
    ends = [e for e in events if e["kind"] == "disconnect" and field(e, "session.encrypted")]
    require(ends, "no session was encrypted")
    verdicts = {field(e, "coverage.verdict") for e in ends}
    require(verdicts == {"full"}, f"verdicts {verdicts}")
    require(not [e for e in events if e["kind"] == "opaque"], "a session is opaque")
    secrets = [e["id"] for e in events if workload.PASSWORD in json.dumps(e)]
    require(not secrets, f"a password was recorded: {secrets[:3]}")


def completeness(context, number, settings, version=15):
    with context.server(version, number, settings={**context.certificate(), **settings}) as server:
        workload.prepare(server)
        with context.stack(server) as stack:
            _warm_up(stack, server)
            load, knowledge = _run(context, server)
            verdict, events = judge(stack.collector, server, load, knowledge)
            require_clean(verdict)
            _require_inside(stack, server, events)
            require_contiguous(stack.collector)
    os.rename(context.directory / "gh", context.directory / f"gh-{number}")


def _warm_up(stack, server):
    """The library is learned when the agent starts."""
    require("secrets of a TLS library are told" in stack.agent.log.read_text(), "no TLS library was learned")


def tls_inside(context):
    for number, (name, settings) in enumerate(WAYS, 1):
        print(f"    TLS {name}")
        completeness(context, number, settings)


def psql(server, sql, **environment):
    return subprocess.run([postgres.PSQL, "-X", "-q", "-c", sql], check=False, capture_output=True,
                          env={**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "app",
                               "PGDATABASE": "shop", **TLS_ENVIRONMENT, **environment})
