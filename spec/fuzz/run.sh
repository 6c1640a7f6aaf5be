#!/bin/sh
# Runs every fuzz target in $1 for $2 seconds, after the inputs that once were findings.
# A finding is kept in spec/fuzz/found/ under the name of its target, and is a failure.
set -u
build=$1 seconds=$2
shift 2
failed=0
for target in "$@"; do
    corpus=$build/corpus/$target log=$build/$target.log
    mkdir -p "$corpus"
    for found in spec/fuzz/found/"$target"-*; do
        [ -e "$found" ] || continue
        if ! "$build/fuzz-$target" -timeout=10 "$found" >"$log" 2>&1; then
            tail -n 40 "$log"
            echo "$target: $found is a finding again"
            failed=1
        fi
    done
    if FUZZ_SEEDS=$corpus "$build/fuzz-$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="spec/fuzz/found/$target-" \
        "$corpus" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "$target: $runs runs, no finding"
    else
        tail -n 60 "$log"
        echo "$target: a finding; its input is in spec/fuzz/found/"
        failed=1
    fi
done
exit $failed
