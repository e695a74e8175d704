#!/bin/bash
# pg_dump 15 writes the same definitions of a Lockstep database as of PostgreSQL's; the dump restores into PostgreSQL and from there back into
# Lockstep, with equal data, privileges and sequences.
#
#   tests/clients/dump.sh lockstep-host:port postgres-host:port
#
# Makes databases dump_a and dump_c on Lockstep, dump_b and dump_d on PostgreSQL, and drops them first.
set -euo pipefail
cd "$(dirname "$0")"
IFS=: read -r ours_host ours_port <<<"$1"
IFS=: read -r theirs_host theirs_port <<<"$2"
pg_dump=$(ls /usr/lib/postgresql/15/bin/pg_dump 2>/dev/null || command -v pg_dump)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ours() { psql -X -v ON_ERROR_STOP=1 -qAt -h "$ours_host" -p "$ours_port" -U postgres -d "$1" "${@:2}"; }
theirs() { psql -X -v ON_ERROR_STOP=1 -qAt -h "$theirs_host" -p "$theirs_port" -U postgres -d "$1" "${@:2}"; }
for database in dump_a dump_c; do
    ours postgres -c "DROP DATABASE IF EXISTS $database" -c "CREATE DATABASE $database"
done
for database in dump_b dump_d; do
    theirs postgres -c "DROP DATABASE IF EXISTS $database" -c "CREATE DATABASE $database"
done
theirs postgres -c 'DROP ROLE IF EXISTS dump_owner, dump_reader'
ours postgres -c 'DROP ROLE IF EXISTS dump_owner, dump_reader'
ours dump_a -f dump_schema.sql >/dev/null
state() {
    local side=$1 database=$2
    for table in app.customer app.purchase 'app."Odd ""Name"'; do
        "$side" "$database" -c "COPY (SELECT * FROM $table ORDER BY 1) TO STDOUT"
    done
    "$side" "$database" -c 'SELECT tableoid::regclass, * FROM app.vehicle ORDER BY id' -c 'SELECT * FROM app.truck' \
        -c 'SELECT id, wheels FROM app.joined' -c 'SELECT inhrelid::regclass, inhparent::regclass, inhseqno FROM pg_inherits ORDER BY inhrelid::regclass::text, inhparent::regclass::text' \
        -c "SELECT attrelid::regclass, attname, attislocal, attinhcount FROM pg_attribute WHERE attnum > 0 AND attrelid IN
            ('app.vehicle'::regclass, 'app.truck'::regclass, 'app.joined'::regclass) ORDER BY attrelid::regclass::text, attname" \
        -c "SELECT conrelid::regclass, conname, conislocal, coninhcount FROM pg_constraint WHERE contype = 'c' AND connamespace = 'app'::regnamespace ORDER BY conrelid::regclass::text, 2"
    "$side" "$database" -c 'SELECT last_value, is_called FROM app.ticket' -c 'SELECT count(*), sum(balance) FROM app.rich' \
        -c "SELECT relname, relkind, relowner::regrole, relacl FROM pg_class WHERE relnamespace = 'app'::regnamespace ORDER BY 1" \
        -c "SELECT attname, attacl FROM pg_attribute WHERE attrelid = 'app.customer'::regclass AND attacl IS NOT NULL" \
        -c "SELECT nspacl FROM pg_namespace WHERE nspname = 'app'" \
        -c "SELECT oid::regprocedure, proowner::regrole, proacl FROM pg_proc WHERE pronamespace = 'app'::regnamespace ORDER BY oid::regprocedure::text" \
        -c "SELECT oid::regtype, typowner::regrole, typacl FROM pg_type WHERE typnamespace = 'app'::regnamespace ORDER BY oid::regtype::text" \
        -c 'SELECT * FROM app.felt ORDER BY id' -c 'SELECT app.how_of(felt) FROM app.felt ORDER BY id' -c "SELECT * FROM app.moods('glad')" \
        -c "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'app'::regnamespace ORDER BY 1" \
        -c "SELECT indexdef FROM pg_indexes WHERE schemaname = 'app' ORDER BY 1" \
        -c "SELECT obj_description('app.customer'::regclass), col_description('app.customer'::regclass, 2)" \
        -c "SELECT nextval('app.customer_id_seq') > 502, defaclobjtype, defaclacl FROM pg_default_acl ORDER BY 2"
}
"$pg_dump" -h "$ours_host" -p "$ours_port" -U postgres dump_a >"$work/a.sql"
# But for the server's version and the token of its restriction the definitions are what the same statements make on PostgreSQL;
# rows have no order.
definitions() { "$pg_dump" --schema-only -h "$1" -p "$2" -U postgres "$3" | grep -vE '^(-- Dumped from|\\(un)?restrict )'; }
theirs dump_d -f dump_schema.sql >/dev/null
diff <(definitions "$ours_host" "$ours_port" dump_a) <(definitions "$theirs_host" "$theirs_port" dump_d)
theirs dump_b -f "$work/a.sql" >/dev/null
"$pg_dump" -h "$theirs_host" -p "$theirs_port" -U postgres dump_b >"$work/b.sql"
ours dump_c -f "$work/b.sql" >/dev/null
state ours dump_a >"$work/a"
state theirs dump_b >"$work/b"
state ours dump_c >"$work/c"
diff "$work/a" "$work/b"
diff "$work/a" "$work/c"
echo "dumped, restored into PostgreSQL and back: $(wc -l <"$work/a") lines are equal"
