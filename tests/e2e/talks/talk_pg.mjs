// SPDX-License-Identifier: Apache-2.0
// node-postgres' part of a talk. Prints all that it gets, but pids.
// usage: talk_pg.mjs STATEMENTS   (the connection comes from PG* variables; CA file: PGSSLROOTCERT)
import fs from "node:fs";
import pg from "pg";

const short = (value) => {
  const text = JSON.stringify(value);
  if (text === undefined || text.length < 500) return text;
  let sum = 0;
  for (const c of text) sum = (sum * 31 + c.codePointAt(0)) % 1000000007;
  return `${text.length} characters, ${sum}`;
};
const kFields = ["severity", "code", "message", "detail", "hint", "position", "where", "schema", "table", "column",
  "constraint", "routine"];
const fieldsOf = (error) => Object.fromEntries(kFields.filter((f) => error[f]).map((f) => [f, error[f]]));

const ssl = process.env.PGSSLMODE === "verify-full"
  ? { ca: fs.readFileSync(process.env.PGSSLROOTCERT, "utf8"), servername: "localhost" } : false;
const client = new pg.Client({ ssl, enableChannelBinding: Boolean(ssl) });
client.on("notice", (notice) => console.log("   notice", fieldsOf(notice)));
client.on("notification", (n) => console.log("   notification", n.channel, n.payload, n.processId === client.processID));
client.on("error", (error) => console.log("   connection", error.code ?? error.message));

async function run(query) {
  console.log("run", short(query));
  try {
    const results = await client.query(query);
    for (const r of [results].flat()) {
      console.log("  ", r.command, r.rowCount, short(r.fields.map((f) => [f.name, f.dataTypeID, f.format])));
      for (const row of r.rows) console.log("    ", short(row));
    }
  } catch (error) {
    console.log("   failed", fieldsOf(error));
  }
}

await client.connect();
const statements = fs.readFileSync(process.argv[2], "utf8").split("\n").slice(0, -1);
for (const text of statements) await run({ text, rowMode: "array" });
for (const text of statements) await run({ text, values: [], rowMode: "array" });
await run("select 1; select 2 as two; select 1 / 0; select 3");
for (let i = 0; i < 3; ++i) await run({ name: "named", text: "select id, name from item where id < $1", values: [4] });
await run({ text: "select $1::text, $2::int, $3::bytea, $4::jsonb, $5::text[]",
  values: ["it's", 5, Buffer.from([0, 255]), { a: [1] }, ["x", null]] });
await run({ text: "select id, name from item where id < $1", values: [3], binary: true });
await run({ text: "select $1::int", values: ["no number"] });
await run({ text: "select g from generate_series(1, 25) g", rows: 10 });
await run("copy lines (a) from stdin");
await run("select 'goes on'");
// Queued at once: the client sends each when the one before has ended.
await Promise.all(Array.from({ length: 20 }, (_, i) => client.query("select $1::int as n", [i])))
  .then((all) => console.log(short(all.map((r) => r.rows[0].n))));
await run("select pg_terminate_backend(pg_backend_pid())");
await client.end().catch((error) => console.log("end", error.message));
