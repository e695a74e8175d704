#!/bin/bash
# pgbench's three scripts in its three modes with 1, 8 and 32 clients, then kill -9 in the middle of tpcb-like, again and
# again: no error, and the balances agree with the history afterwards and after each recovery.
#
#   BINARY=target/release/lockstep tests/clients/pgbench.sh [SCALE [SECONDS [KILLS]]]
#
# Needs psql and pgbench (tests/clients/run.sh installs them).
set -euo pipefail
binary=${BINARY:?a built lockstep} scale=${1:-10} seconds=${2:-5} kills=${3:-5}
pgbench=$(command -v pgbench || ls /usr/lib/postgresql/*/bin/pgbench | tail -1)
work=$(mktemp -d)
export PGHOST=127.0.0.1 PGPORT=$((21000 + RANDOM % 5000)) PGUSER=postgres PGDATABASE=postgres
server=
finish() {
    local code=$?
    [[ -z $server ]] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; }
    [[ $code == 0 ]] || tail -20 "$work/server.log"
    rm -rf "$work"
    exit $code
}
trap finish EXIT
start() {
    "$binary" --listen "$PGHOST:$PGPORT" --peer-listen "127.0.0.1:$((PGPORT + 5000))" --data-dir "$work/data" --node pgbench \
        >>"$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 600); do
        psql -qAtc 'SELECT 1' >/dev/null 2>&1 && return
        kill -0 "$server" 2>/dev/null || { echo "lockstep ended"; exit 1; }
        sleep 0.1
    done
    echo "lockstep does not answer"; exit 1
}
# tpcb-like adds each delta to an account, a teller and a branch; simple-update to an account alone.
check() {
    local sums
    sums=$(psql -qAtc "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history),
        (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)")
    [[ $sums == 't|t' ]] || { echo "balances differ: $sums"; exit 1; }
}
all_agree() {
    [[ $(psql -qAtc "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)") == t ]] ||
        { echo "branches and history differ"; exit 1; }
}

start
"$pgbench" -i -s "$scale" -q 2>"$work/init" || { cat "$work/init"; exit 1; }
for script in tpcb-like select-only simple-update; do
    for mode in simple extended prepared; do
        for clients in 1 8 32; do
            "$pgbench" -n -M $mode -b $script -c $clients -j 2 -T "$seconds" >"$work/bench" 2>&1 || { cat "$work/bench"; exit 1; }
            grep -q 'number of failed transactions: 0 ' "$work/bench" || { cat "$work/bench"; exit 1; }
            check
            printf '%-14s %-9s %2d clients: %s\n' $script $mode $clients "$(grep '^tps' "$work/bench")"
        done
    done
    [[ $script == simple-update ]] || all_agree
done

"$pgbench" -i -s "$scale" -q 2>"$work/init" || { cat "$work/init"; exit 1; }
for kill in $(seq "$kills"); do
    clients=$((kill % 2 ? 32 : 8))
    "$pgbench" -n -M prepared -b tpcb-like -c $clients -j 2 -T 60 >"$work/bench" 2>&1 &
    load=$!
    before=$(psql -qAtc 'SELECT count(*) FROM pgbench_history')
    sleep "$((1 + RANDOM % 3)).$((RANDOM % 10))"
    kill -9 "$server"; wait "$server" 2>/dev/null || true; wait $load || true
    # What pgbench was told is committed: the transactions that it counts.
    acknowledged=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/bench")
    start
    check; all_agree
    after=$(psql -qAtc 'SELECT count(*) FROM pgbench_history')
    ((after - before >= acknowledged && after - before <= acknowledged + clients)) ||
        { echo "acknowledged $acknowledged, found $((after - before))"; exit 1; }
    echo "kill -9 number $kill with $clients clients: $acknowledged acknowledged, $((after - before)) found, balances agree"
done
