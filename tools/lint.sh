#!/bin/bash
# Everything that CI refuses, each step by name; goes on after a failure.
set -uo pipefail
cd "$(dirname "$0")/.."

luajit=$(tools/luajit.sh prefix)/bin/luajit
[ -x "$luajit" ] || luajit=luajit
failed=0

files() { git ls-files -co --exclude-standard --deduplicate "$@" | xargs -r ls -d 2>/dev/null; }

step() {
    local name=$1 log
    shift
    if log=$("$@" 2>&1); then
        echo "lint: $name: ok${log:+ ($(tail -1 <<<"$log"))}"
    else
        echo "$log"
        echo "lint: $name: FAILED"
        failed=1
    fi
}

format() {
    local unformatted
    unformatted=$(files '*.c' '*.h' | xargs clang-format --dry-run -Werror 2>&1 |
        sed -nE 's/^([^:]+):[0-9]+:.*-Wclang-format-violations.*/\1: run make format/p' | sort -u)
    echo "$unformatted"
    [ -z "$unformatted" ]
}

# A file is looked at again when it, a header or the rules have changed.
tidy() {
    {
        echo "CHECK = clang-tidy -p build/release --quiet --extra-arg=-Wno-ignored-optimization-argument"
        echo "HEADERS = $(files '*.h' | xargs)"
        echo "FILES = $(files '*.c' | grep -v '^bench/' | xargs)"
        echo 'all: $(FILES:%=build/lint/%.ok)'
        echo 'build/lint/%.ok: % $(HEADERS) .clang-tidy'
        printf '\t@mkdir -p $(@D) && $(CHECK) $< 2>/dev/null && touch $@\n'
    } | make -f - -k -j2 --no-print-directory
}

documented() {
    "$luajit" tools/docgen.lua || return 1
    [ -z "$(git status --porcelain docs/api)" ] || { git status --short docs/api
        echo "docs/api is not what 'make docs' writes: commit it"; return 1; }
}

compiled() { make --no-print-directory build PRESET=release; }

step compile compiled
step clang-format format
step clang-tidy tidy
step luacheck luacheck -q --no-color $(files '*.lua' | grep -E '^(scripts|tests|tools|bench|examples)/') .luacheckrc
step "house rules" "$luajit" tools/check.lua
step docs documented
exit $failed
