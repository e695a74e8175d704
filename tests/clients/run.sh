#!/bin/bash
# Lets psql, pgbench, psycopg 3 and the JDBC driver each do a small real job on a server, and checks what they see.
#
#   tests/clients/run.sh                     builds lockstep (debug), starts it, and runs all jobs
#   tests/clients/run.sh host port           runs them on a server that is already there (PostgreSQL 15, say)
#
# Installs what is missing (Debian packages as root, psycopg from PyPI into a virtual environment). A job that cannot
# run is a failure, never skipped. BINARY=path uses a built lockstep.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/tests/clients
work=$(mktemp -d)
server=
finish() {
    local code=$?
    [[ ! -e $work/pg/data ]] || as_postgres pg_ctl -D "$work/pg/data" -m immediate stop >/dev/null 2>&1 || true
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true
        [[ $code == 0 ]] || { echo "---- lockstep printed:"; tail -60 "$work/server.log"; }
    fi
    rm -rf "$work"
    exit $code
}
trap finish EXIT
# PostgreSQL does not run as root.
as_postgres() {
    if [[ $(id -u) == 0 ]]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups "/usr/lib/postgresql/15/bin/$1" "${@:2}"
    else
        "/usr/lib/postgresql/15/bin/$1" "${@:2}"
    fi
}
say() { echo "== $*"; }

# -- what the jobs need
missing=()
command -v psql >/dev/null || missing+=(postgresql-client)
command -v pgbench >/dev/null || [[ -x $(echo /usr/lib/postgresql/*/bin/pgbench) ]] || missing+=(postgresql-contrib)
[[ -x /usr/lib/postgresql/15/bin/initdb ]] || missing+=(postgresql-15)
command -v javac >/dev/null || missing+=(default-jdk-headless)
[[ -f /usr/share/java/postgresql.jar ]] || missing+=(libpostgresql-jdbc-java)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
    say "installing ${missing[*]}"
    [[ $(id -u) == 0 ]] || { echo "needs root to install ${missing[*]}"; exit 1; }
    # The package of pgbench would start a PostgreSQL of its own.
    mkdir -p /etc/postgresql-common
    [[ -e /etc/postgresql-common/createcluster.conf ]] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
pgbench=$(command -v pgbench || ls /usr/lib/postgresql/*/bin/pgbench | tail -1)
python=${PYTHON_ENVIRONMENT:-$PWD/target/clients-venv}
if ! "$python/bin/python" -c 'import psycopg' 2>/dev/null; then
    say "installing psycopg"
    python3 -m venv "$python"
    "$python/bin/pip" install -q 'psycopg[binary]==3.*'
fi

# -- the server
if (($# == 2)); then
    export PGHOST=$1 PGPORT=$2
else
    if [[ -z ${BINARY:-} ]]; then
        say "building lockstep"
        cargo build --workspace --bin lockstep
        BINARY=${CARGO_TARGET_DIR:-target}/debug/lockstep
    fi
    export PGHOST=127.0.0.1 PGPORT=${PGPORT:-$((21000 + RANDOM % 5000))}
    "$BINARY" --listen "$PGHOST:$PGPORT" --peer-listen "127.0.0.1:$((PGPORT + 5000))" --data-dir "$work/data" \
        --node clients >"$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 600); do
        psql -U postgres -d postgres -qAtc 'SELECT 1' >/dev/null 2>&1 && break
        kill -0 "$server" 2>/dev/null || { echo "lockstep ended"; server=; cat "$work/server.log"; exit 1; }
        sleep 0.1
    done
fi
export PGUSER=postgres PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'
psql=(psql -X -v ON_ERROR_STOP=1 -qAt)

say "psql: $("${psql[@]}" -c 'SELECT version()')"
psql -X -v ON_ERROR_STOP=1 -qA -f "$here/psql.sql" >"$work/psql.out" || { cat "$work/psql.out"; exit 1; }
diff -u "$here/psql.out" "$work/psql.out"
# A script stops at its first error and says so in its exit code.
if echo $'SELECT 1;\nSELECT 1/0;\nCREATE TABLE never_made (x int);' | "${psql[@]}" >/dev/null 2>"$work/error"; then
    echo "psql went on after an error"; exit 1
fi
grep -q 'division by zero' "$work/error"
[[ $("${psql[@]}" -c "SELECT to_regclass('never_made') IS NULL") == t ]]
# \copy in and out gives back the same bytes.
seq 1 20000 | awk '{printf "%d\tname \\\\ %d\t%d.%02d\t%s\n", $1, $1, $1, $1 % 100, ($1 % 7 ? "2024-02-" ($1 % 28 < 9 ? "0" : "") $1 % 28 + 1 : "\\N")}' >"$work/rows.tsv"
"${psql[@]}" -c 'CREATE TABLE copied (id int PRIMARY KEY, name text, n numeric, d date)' \
    -c "\\copy copied FROM '$work/rows.tsv'" -c "\\copy (SELECT * FROM copied ORDER BY id) TO '$work/back.tsv'" -c 'DROP TABLE copied'
cmp "$work/rows.tsv" "$work/back.tsv"

say "pgbench"
"$pgbench" -i -s 1 -q 2>"$work/init" || { cat "$work/init"; exit 1; }
for mode in simple extended prepared; do
    for script in tpcb-like simple-update select-only; do
        "$pgbench" -n -M $mode -b $script -c 4 -j 2 -t 100 >"$work/bench" 2>&1 || { cat "$work/bench"; exit 1; }
        grep -q 'number of failed transactions: 0 ' "$work/bench" || { cat "$work/bench"; exit 1; }
        echo "$mode $script: $(grep '^tps' "$work/bench")"
    done
done
sums="SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
             (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers),
             (SELECT count(*) FROM pgbench_history)"
[[ $("${psql[@]}" -c "$sums") == 't|t|2400' ]] || { echo "sums differ: $("${psql[@]}" -c "$sums")"; exit 1; }
# tpcb-like alone changes branches and tellers; it must agree with its share of the history.
"${psql[@]}" -c 'DROP TABLE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history'

say "TPC-H, scale 0.01, by psql's \\copy"
cargo build -q --workspace --example tpch
"${CARGO_TARGET_DIR:-target}/debug/examples/tpch" generate "$work/tpch" 0.01
"${psql[@]}" -f tests/tpch/schema.sql
for table in region nation part supplier partsupp customer orders lineitem; do
    "${psql[@]}" -c "\\copy $table FROM '$work/tpch/$table.csv' WITH (FORMAT csv)"
done
for query in tests/tpch/q??.sql; do
    expected=tests/tpch/expected/$(basename "$query" .sql).out
    "${psql[@]}" -P null=NULL -f "$query" | sed 's/ *$//' | diff -u "$expected" - || { echo "$query: other rows than PostgreSQL"; exit 1; }
done
"${psql[@]}" -c 'DROP TABLE lineitem, orders, customer, partsupp, supplier, part, nation, region'

say "psycopg $("$python/bin/python" -c 'import psycopg; print(psycopg.__version__)')"
"$python/bin/python" "$here/job.py"

say "JDBC"
javac -d "$work" "$here/Job.java"
java -cp "$work:/usr/share/java/postgresql.jar" Job "$PGHOST" "$PGPORT"
if (($# != 2)); then
    say "psql's backslash commands and pg_dump, beside PostgreSQL 15"
    mkdir "$work/pg"
    chmod 755 "$work"
    [[ $(id -u) != 0 ]] || chown postgres "$work/pg"
    theirs=$((PGPORT + 1))
    (cd "$work/pg" && as_postgres initdb -D "$work/pg/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null)
    (cd "$work/pg" && as_postgres pg_ctl -D "$work/pg/data" -w -l "$work/pg/log" \
        -o "-p $theirs -c listen_addresses=127.0.0.1 -c unix_socket_directories=$work/pg -c fsync=off" start >/dev/null) ||
        { cat "$work/pg/log"; exit 1; }
    "$here/backslash.sh" "$PGHOST:$PGPORT" "127.0.0.1:$theirs"
    "$here/dump.sh" "$PGHOST:$PGPORT" "127.0.0.1:$theirs" 2>&1 | grep -v 'NOTICE:'
fi
say "all client jobs passed"
