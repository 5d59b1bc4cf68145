#!/bin/bash
# Builds the LuaJIT that Tycho links, once per machine and version, into the user's cache.
#
#   tools/luajit.sh prefix    print where it is installed (whether it is there or not)
#   tools/luajit.sh build     build it if it is not there; exit 1 if its source cannot be had
#
# The distribution's own library is not used because it is built without CHECKHOOK: a compiled
# endless loop in a script could then never be stopped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions"
. "$here/sources.sh"

# PREFIX and MULTILIB here are where it looks for Lua modules: where Debian's packages put them.
# Fat objects: the release build optimises across Lua's API, the others just link.
settings=(BUILDMODE=static XCFLAGS="$luajit_flags"
    CCOPT="-O2 -fPIC -fomit-frame-pointer -flto -ffat-lto-objects"
    PREFIX=/usr MULTILIB="lib/$(gcc -print-multiarch)")
hash=$({ echo "$luajit_sha256 ${settings[*]}" && cat "$here"/luajit-*.patch; } | sha256sum | cut -c1-8)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tycho
prefix=$cache/luajit-$luajit_version-$hash

# An APT state of its own: the machine's package lists need not carry an index of sources, and
# no privilege is needed.
fetch() {
    local dir=$1
    mkdir -p "$dir"/{lists/partial,archives/partial,source,parts}
    derive_source deb-src "$luajit_suite" >"$dir/luajit.entry" || return 1
    if grep -q '^Types:' "$dir/luajit.entry"; then
        mv "$dir/luajit.entry" "$dir/parts/luajit.sources"
    else
        mv "$dir/luajit.entry" "$dir/parts/luajit.list"
    fi
    local apt=(apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$dir/parts"
        -o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir" -o APT::Sandbox::User="$(id -un)")
    "${apt[@]}" update && (cd "$dir/source" && "${apt[@]}" source --download-only luajit)
}

build() {
    local dir=$1 orig
    orig=$(ls "$dir"/source/luajit_"$luajit_version".orig.tar.*) || return 1
    echo "$luajit_sha256  $orig" | sha256sum --check --quiet || return 1
    dpkg-source --no-check -x "$dir"/source/*.dsc "$dir/luajit" >"$dir/log" &&
        cat "$here"/luajit-*.patch | patch -p1 -d "$dir/luajit" >>"$dir/log" &&
        make -C "$dir/luajit" -j2 amalg "${settings[@]}" >>"$dir/log" 2>&1 &&
        make -C "$dir/luajit" install BUILDMODE=static PREFIX="$prefix" \
            DESTDIR="$dir/stage" LDCONFIG=: >>"$dir/log" 2>&1
}

main() {
    [ -f "$prefix/lib/libluajit-5.1.a" ] && return
    dir=
    mkdir -p "$cache"
    dir=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$dir"' EXIT
    echo "tycho: building LuaJIT $luajit_version ($luajit_flags) into $prefix"
    if ! fetch "$dir" >"$dir/log" 2>&1 || ! build "$dir"; then
        tail -5 "$dir/log" >&2
        return 1
    fi
    # Two builds at once are harmless: the later one finds the place taken.
    ln -sf "$(cd "$dir/stage$prefix/bin" && ls luajit-* | head -1)" "$dir/stage$prefix/bin/luajit"
    mv -T "$dir/stage$prefix" "$prefix" 2>/dev/null || [ -f "$prefix/lib/libluajit-5.1.a" ]
    rm -f "$prefix.given-up"
    touch "$here/versions" # CMake, if it has run before, looks again
}

case ${1:-} in
    prefix) echo "$prefix" ;;
    build) main ;;
    *) echo "usage: tools/luajit.sh prefix|build" >&2 && exit 2 ;;
esac
