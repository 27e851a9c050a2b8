# SPDX-License-Identifier: Apache-2.0
"""asyncpg's part of a talk: the extended protocol, all binary. Prints all that it gets, but pids.

usage: talk_asyncpg.py STATEMENTS   (the connection comes from PG* variables)
"""

import asyncio
import io
import sys

import asyncpg


def short(value):
    text = repr(value)
    return text if len(text) < 500 else f"{len(text)} characters, {sum(map(ord, text))}"


async def run(conn, text, *values, how="fetch"):
    print(how, text[:200])
    try:
        found = await getattr(conn, how)(text, *values)
        for row in [found] if isinstance(found, str) else found or []:
            print("    ", short(row))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, AttributeError) as error:
        # AttributeError: this version cannot take the answer to an empty query
        print("  ", type(error).__name__, str(error), getattr(error, "detail", None), getattr(error, "hint", None),
              getattr(error, "position", None), getattr(error, "context", None),
              getattr(error, "constraint_name", None), getattr(error, "server_source_function", None))
    print("   state", conn.is_in_transaction() if not conn.is_closed() else "closed")


async def main():
    conn = await asyncpg.connect(statement_cache_size=20)
    pid = conn.get_server_pid()
    conn.add_log_listener(lambda _, m: print("   notice", m.severity, m.sqlstate, m.message, m.detail, m.hint))
    print(conn.get_server_version(), conn.get_settings().server_encoding)
    await conn.add_listener("channel", lambda _, p, channel, text: print("   notify", channel, text, p == pid))
    statements = open(sys.argv[1], encoding="utf-8").read().splitlines()
    for how in ("execute", "fetch"):
        for text in statements:
            await run(conn, text, how=how)
    await run(conn, "select 1; select 2; notify channel, 'x'", how="execute")
    for _ in range(3):
        await run(conn, "select id, name, $2::text from item where id < $1", 4, "it's")
    await run(conn, "select $1::int[], $2::jsonb, $3::timestamptz, $4::bytea, $5::numeric", [1, None], '{"a": 1}', None,
              b"\x00\xff", 15)
    await run(conn, "select $1::int", 1 << 40)
    await conn.executemany("insert into journal (entry) values ($1)", [(f"m{n}",) for n in range(500)])
    statement = await conn.prepare("select $1::int + g from generate_series(1, 10) g")
    print(statement.get_attributes(), statement.get_parameters(), await statement.fetch(1))
    async with conn.transaction():
        print([row[0] async for row in conn.cursor("select g from generate_series(1, 120) g", prefetch=25)])
        cursor = await conn.cursor("select g from generate_series(1, 9) g")
        print(await cursor.fetch(4), await cursor.forward(2), await cursor.fetchrow())
    try:
        async with conn.transaction(isolation="serializable"):
            await conn.execute("insert into journal (entry) values ('no')")
            async with conn.transaction():
                await conn.fetch("select 1 / 0")
    except asyncpg.PostgresError as error:
        print("rolled back", error.sqlstate)
    print(await conn.copy_records_to_table("lines", records=[(n, f"r{n}") for n in range(50)], columns=["a", "b"]))
    print(await conn.copy_to_table("lines", source=io.BytesIO(b"1,one\n2,\n"), columns=["a", "b"], format="csv"))
    out = io.BytesIO()
    print(await conn.copy_from_query("select a, b from lines where a < $1 order by id", 20, output=out), out.getvalue())
    try:
        await conn.copy_to_table("lines", source=io.BytesIO(b"x\n"), columns=["a"], format="csv")
    except asyncpg.PostgresError as error:
        print("copy failed", error, error.context)
    try:
        await conn.fetch("select pg_sleep(30)", timeout=0.2)
    except asyncio.TimeoutError:
        print("cancelled by its own time limit")
    await run(conn, "select 'goes on'")
    print(await conn.reload_schema_state(), await conn.reset())
    await conn.close()


asyncio.run(main())
