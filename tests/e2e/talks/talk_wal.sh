#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Replication's part of a talk: a base backup and its check, WAL as the server has it, and decoded changes.
# usage: talk_wal.sh DIRECTORY DATA   DATA: the server's data directory (the connection comes from PG* variables)
set -eu
cd "$1"
ask() { psql -XqAtc "$1"; }
psql -XAtd "replication=database" -c 'show server_version' -c 'nonsense' || echo "psql: $?"
psql -XAtd "replication=true" -c 'timeline_history 1' || echo "psql: $?"
ask 'select pg_switch_wal() is not null'
mkdir wal
pg_receivewal -D wal --create-slot --slot talk_wal
ask "insert into journal (entry) select 'wal ' || g from generate_series(1, 1000) g"
end=$(ask 'select pg_current_wal_insert_lsn()')
ask "insert into journal (entry) values ('past the end')"
pg_receivewal -D wal --slot talk_wal --no-loop --synchronous --endpos="$end" 2>&1 | sed 's/[0-9A-F]*\/[0-9A-F]*/LSN/g'
pg_receivewal --drop-slot --slot talk_wal
for file in wal/*; do
  segment=$(basename "$file" .partial)
  last=$(ask "select case when pg_walfile_name('$end') = '$segment'
                     then (pg_walfile_name_offset('$end')).file_offset else 16777216 end")
  cmp -n "$last" "$file" "$2/pg_wal/$segment" && echo "a segment is as the server has it"
done
pg_recvlogical -d "$PGDATABASE" --slot talk_logical --create-slot -P test_decoding
ask "insert into journal (entry) select 'decoded ' || g from generate_series(1, 200) g;
     delete from journal where entry like 'wal %'"
ask "begin; insert into journal (entry) values ('never'); rollback; truncate lines"
end=$(ask 'select pg_current_wal_insert_lsn()')
ask "insert into journal (entry) values ('past the end')"
pg_recvlogical -d "$PGDATABASE" --slot talk_logical --start -f - --no-loop --endpos="$end" \
  -o include-xids=0 -o skip-empty-xacts=1
pg_recvlogical -d "$PGDATABASE" --slot talk_logical --drop-slot
pg_basebackup -D base -X stream --checkpoint=fast
pg_verifybackup base
pg_basebackup -D - -Ft -X fetch --checkpoint=fast --no-manifest | tar -t | grep -xe PG_VERSION -e backup_label
cat base/PG_VERSION
