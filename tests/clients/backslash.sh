#!/bin/bash
# What psql's backslash commands print on Lockstep and on PostgreSQL, side by side.
#
#   tests/clients/backslash.sh lockstep-host:port postgres-host:port
#
# Both are to be new: the schema of backslash_schema.sql is made in each. Sizes differ and are left out. Prints a diff for each
# command that differs and is not known to, and fails if there is one.
set -euo pipefail
cd "$(dirname "$0")"
commands=(
    '\d' '\d+' '\dS pg_class' '\d bs.*' '\d+ bs.*' '\d bs.parent' '\d+ bs.parent' '\d+ bs.child' '\d+ bs.cheap' '\d bs.numbers'
    '\d bs."Odd Name"' '\d visible' '\d nothing' '\dt' '\dt+ bs.*' '\dt bs.*' '\dtS pg_catalog.pg_am*' '\di' '\di+ bs.*' '\di bs.*'
    '\dv bs.*' '\dv+ bs.*' '\ds bs.*' '\ds+ bs.*' '\dm' '\dE' '\dtvs bs.*' '\da sum' '\dA' '\dA+' '\dAc btree int4' '\dAf btree int4'
    '\dAo btree integer_ops' '\dAp btree integer_ops' '\db' '\db+' '\dc utf8_to_iso*' '\dC int4' '\dC+ date' '\dconfig work_mem'
    '\dconfig *timeout' '\dd bs.*' '\dD' '\dD+' '\ddp' '\ddp bs.*' '\des' '\det' '\deu' '\dew' '\df abs' '\df+ lower' '\dF' '\dFd' '\dFp'
    '\dFt' '\dg bs*' '\dg+ bs*' '\du' '\du+ bs*' '\dl' '\dL' '\dL+' '\dn' '\dn+' '\dnS' '\do ||' '\do+ +' '\dO C' '\dp' '\dp bs.*' '\z bs.*'
    '\dP' '\drds' '\drds bs*' '\dRp' '\dRs' '\dT int*' '\dT+ numeric' '\dT bs.*' '\dX' '\dx' '\dx+' '\dy' '\l' '\l bs*' '\sv bs.cheap'
    '\sv+ bs.cheap' '\sf abs(int)' '\conninfo' '\encoding' '\df bs.*' '\df+ bs.*' '\da bs.*' '\dT+ bs.*' '\dD+ bs.*' '\d bs.pair'
    '\sf bs.moods' '\sf+ bs.nothing'
)
# These differ, because Lockstep has no text search, conversions, procedural languages, TOAST or indexes of system relations, other
# settings, no texts of built-in functions, and sizes of its own that make a column wider.
known=(
    '\d+' '\dS pg_class' '\dt+ bs.*' '\di+ bs.*' '\ds+ bs.*' '\db+' '\dc utf8_to_iso*' '\dconfig *timeout' '\dF' '\dFd' '\dFp' '\dFt'
    '\dL' '\dL+' '\dnS' '\dx' '\dx+' '\l' '\sf abs(int)'
)
IFS=: read -r ours_host ours_port <<<"$1"
IFS=: read -r theirs_host theirs_port <<<"$2"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run() {
    psql -X -h "$1" -p "$2" -U postgres -d postgres "${@:3}" 2>&1 || true
}
for side in ours theirs; do
    host=${side}_host port=${side}_port
    run "${!host}" "${!port}" -q -f backslash_schema.sql >"$work/$side.setup"
done
diff "$work/theirs.setup" "$work/ours.setup" || true
is_known() {
    for one in "${known[@]}"; do
        [[ $one != "$1" ]] || return 0
    done
    return 1
}
differ=0
for command in "${commands[@]}"; do
    run "$ours_host" "$ours_port" -c "$command" >"$work/ours"
    run "$theirs_host" "$theirs_port" -c "$command" >"$work/theirs"
    # Sizes of what is stored, and the port of this very connection.
    sed -i -E 's/[0-9]+ (bytes|kB|MB)/SIZE/g; s/port "[0-9]+"/port/; s/ +\|/ |/g; s/-+\+/-+/g; s/-+$/-/; s/ +$//' "$work/ours" "$work/theirs"
    if ! diff -u "$work/theirs" "$work/ours" >"$work/diff"; then
        ! is_known "$command" || continue
        differ=$((differ + 1))
        echo "== $command"
        tail -n +3 "$work/diff" | head -"${LINES_MAX:-12}"
    fi
done
echo "${#commands[@]} commands, ${#known[@]} of them known to differ, $differ others do"
((differ == 0))
