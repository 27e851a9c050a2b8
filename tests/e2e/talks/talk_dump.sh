#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# pg_dump's and pg_restore's part of a talk: each format, two jobs, and what was restored dumped once more.
# usage: talk_dump.sh DIRECTORY   (the connection comes from PG* variables)
set -eu
cd "$1"
pg_dump
pg_dump --inserts --rows-per-insert=3 --data-only
pg_dump -Fc -f custom
pg_dump -Fd -j2 -f folder
pg_dump -t nowhere || echo "pg_dump: $?"
psql -Xqc 'create database talk_copy'
pg_restore -j2 -d talk_copy custom
pg_restore --clean --if-exists -d talk_copy folder
pg_dump talk_copy
psql -Xqc 'drop database talk_copy'
