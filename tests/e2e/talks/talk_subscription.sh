#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Logical replication's part of a talk: another server subscribes, copies, and follows.
# usage: talk_subscription.sh SOCKET PORT   of the subscriber (the publisher comes from PG* variables)
set -eu
there() {
  PGHOST=$subscriber_host PGPORT=$subscriber_port PGUSER=postgres PGSSLMODE=disable PGCHANNELBINDING=prefer \
    psql -XqAt "$@"
}
ask() { psql -XqAtc "$1"; }
subscriber_host=$1 subscriber_port=$2
wait_for() {
  for _ in $(seq 300); do
    [ "$(there -d copy -c "$1")" = "$2" ] && { echo "$1: $2"; return; }
    sleep 0.1
  done
  echo "$1: never $2"
}
there -d postgres -c 'drop database if exists copy with (force)' -c 'create database copy'
pg_dump --schema-only --no-publications | there -d copy >/dev/null
ask "insert into journal (entry) select 'before ' || g from generate_series(1, 500) g"
more=""
[ -z "${PGSSLROOTCERT:-}" ] || more="sslrootcert=$PGSSLROOTCERT channel_binding=$PGCHANNELBINDING"
publisher="host=$PGHOST port=$PGPORT user=$PGUSER password=$PGPASSWORD dbname=$PGDATABASE sslmode=$PGSSLMODE $more"
there -d copy -c "create subscription talk connection '$publisher gssencmode=disable' publication everything"
wait_for 'select count(*) from journal' 500
wait_for 'select count(*) from item' 10
ask "insert into journal (entry) select 'after ' || g from generate_series(1, 500) g"
ask "delete from journal where id <= 10"
ask "begin; insert into journal (entry) values ('never'); rollback"
ask "insert into lines (a, b, c) select g, repeat('é', g), '\\x00ff' from generate_series(1, 500) g"
wait_for 'select count(*) from journal' 990
wait_for 'select count(*), sum(length(b)), md5(string_agg(c::text, null)) from lines' \
  "$(ask 'select count(*), sum(length(b)), md5(string_agg(c::text, null)) from lines')"
there -d copy -c 'drop subscription talk'
there -d postgres -c 'drop database copy'
