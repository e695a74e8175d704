#!/bin/bash
# Shows that the fault checker catches bugs: builds lockstep with the feature `seeded-bugs` and runs the checker with
# each of the three bugs, which must fail, and without one, which must pass. Give --release for optimised builds.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
profile=debug; [[ " $* " == *" --release "* ]] && profile=release
cargo build --locked --workspace "$@" --features lockstep/seeded-bugs --bin lockstep --example faults
# A copy: the next ordinary build replaces the binary.
binary=$(mktemp); trap 'rm -f "$binary"' EXIT
cp "$target/$profile/lockstep" "$binary"; chmod +x "$binary"
faults="$target/$profile/examples/faults --binary $binary --seed 7"

caught() { # bug kinds
    echo "== $1"
    local log; log=$(mktemp)
    if LOCKSTEP_SEEDED_BUG=$1 timeout 600 $faults --faults 12 --kinds "$2" >"$log" 2>&1; then
        cat "$log"; echo "$1 was NOT caught"; exit 1
    fi
    # A crash or a time-out of the checker is not a catch: it must name a broken promise.
    grep -m 3 '^VIOLATION' "$log" || { cat "$log"; echo "$1: the checker failed without a violation"; exit 1; }
}
caught ack-before-quorum alone,kill
caught skip-fsync killall
caught old-primary-answers stop,cut
echo "== no bug"
$faults --faults 6
echo "all three seeded bugs are caught"
