#!/bin/bash
# Runs fuzz targets, two at once: tests/fuzz/run.sh SECONDS [TARGET...]
#
# One line for each: "fuzz: http: ok (...)" or "fuzz: http: FAILED (...)"; a report and the input
# that broke it stay in build/fuzz/found. What is learnt on the way is kept in build/fuzz/corpus, for
# the next run.
set -uo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C ASAN_OPTIONS=allocator_may_return_null=1:print_stacktrace=1
export UBSAN_OPTIONS=print_stacktrace=1
build=build/fuzz

all() {
    local source name
    for source in tests/fuzz/fuzz_*.c tests/fuzz/*.lua; do
        name=$(basename "${source%.*}")
        [ "$name" = fuzz_script ] || echo "${name#fuzz_}"
    done
}

# Too much memory is an error, too; so is an input that takes ten seconds.
fuzz() {
    local seconds=$1 name=$2 corpus=$build/corpus/$2 log=$build/found/$2.log options=() status
    mkdir -p "$corpus" $build/found
    [ ! -f "tests/fuzz/$name.dict" ] || options=(-dict="tests/fuzz/$name.dict")
    "$build/fuzz/fuzz_$name" "${options[@]}" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=1500 -artifact_prefix="$build/found/$name-" -print_final_stats=1 \
        "$corpus" "tests/fuzz/corpus/$name" >"$log" 2>&1
    status=$?
    if [ $status = 0 ]; then
        echo "fuzz: $name: ok ($(awk '/number_of_executed_units/ { print $2 }' "$log") inputs)"
        return
    fi
    grep -E -A20 'not true|ERROR: |runtime error|SUMMARY|^[^ ]*lua:[0-9]+:' "$log" | head -60
    echo "fuzz: $name: FAILED (run again: $build/fuzz/fuzz_$name $(grep -oE "$build/found/$name-[^ ]+" "$log" | tail -1))"
    return 1
}

if [ "${1:-}" = --one ]; then
    fuzz "$2" "$3"
    exit
fi
seconds=${1:?seconds}
shift
[ $# -gt 0 ] || set -- $(all)
printf '%s\n' "$@" | xargs -P2 -I{} "$0" --one "$seconds" {}
