#!/bin/bash
# Has spin look at every order of events in reload.pml, and at mutants of it, in which it must find
# what is wrong: tests/model/check.sh [long]. Each line says what was looked at.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" && cp "$here/reload.pml" . || exit 1
command -v spin >/dev/null || { echo "skipped: there is no spin here (apt install spin)"; exit 77; }
failed=0

# look KIND DEFINITIONS...: prints spin's verdict; KIND is safety (assertions) or progress (the
# claim, under weak fairness).
look() {
    local kind=$1 more=-DSAFETY run=
    shift
    [ "$kind" = safety ] || { set -- "$@" -DPROGRESS; more=-DNFAIR=3 run='-a -f'; }
    [ "$kind" = safety ] && more="$more -DHC4" || more="$more -DCOLLAPSE"
    rm -f pan* ./*.trail
    spin -a "$@" reload.pml >spin.log 2>&1 || { cat spin.log; return 1; }
    cc -O1 -w -DMEMLIM=4000 $more -o pan pan.c || return 1
    ./pan -m100000 $run >pan.log 2>&1
    # Not a word of errors: out of memory, or too deep; then nothing is known.
    ! grep -qE 'max search depth|out of memory|reached -DMEMLIM' pan.log
}

errors() { sed -nE 's/.*errors: ([0-9]+).*/\1/p' pan.log; }
states() { sed -nE 's/ *([0-9]+) states, stored.*/\1/p' pan.log; }

holds() {
    if look "$@" && [ "$(errors)" = 0 ]; then
        echo "ok: $* ($(states) states)"
        return
    fi
    echo "FAILED: $*"
    grep -E '^pan:' pan.log
    [ ! -f reload.pml.trail ] || spin -t -p "${@:2}" reload.pml 2>/dev/null | tail -60
    failed=1
}

is_found() {
    look "$@" && [ "$(errors)" != 0 ] && echo "ok: found wrong: $*" && return
    echo "FAILED: not found wrong: $*"
    failed=1
}

holds safety -DALIVE_MAX=3 -DLEAVES=0
holds safety -DALIVE_MAX=2 -DFAULTS=0 -DCOMMIT_TIMES_OUT
holds safety -DWORKERS=3 -DASKS=1 -DLEAVES=0 -DFAULTS=0
holds progress -DASKS=1 -DLEAVES=0
if [ "${1:-}" = long ] || [ "${TYCHO_TEST_LONG:-}" = 1 ]; then
    holds safety -DALIVE_MAX=3
    holds safety -DALIVE_MAX=2 -DCOMMIT_TIMES_OUT
    holds safety -DALIVE_MAX=3 -DLEAVES=0 -DDEATHS=2
    holds safety -DWORKERS=3 -DASKS=1
    holds progress -DASKS=1
fi

is_found safety -DMUTANT_COMMIT_BEFORE_ALL_ARE_READY
is_found safety -DMUTANT_WHO_JOINS_IS_FORGOTTEN
is_found safety -DMUTANT_UNACKNOWLEDGED_COMMIT_IS_FORGOTTEN
is_found safety -DMUTANT_ANSWERED_AT_THE_DECISION
is_found safety -DMUTANT_ANSWERS_TO_EARLIER_ATTEMPTS_COUNT -DALIVE_MAX=3 -DLEAVES=0
is_found safety -DMUTANT_FREED_WHILE_IN_USE
is_found progress -DMUTANT_WHO_COMES_LATE_IS_FORGOTTEN -DASKS=1
is_found progress -DMUTANT_WHO_WAITS_IS_FORGOTTEN -DLEAVES=0 -DFAULTS=0 -DDEATHS=0
exit $failed
