# APT sources derived from this machine's own, for other scripts to include.
#
# Nothing here knows the address of a mirror: an entry that the machine already uses for its
# distribution is repeated with another type and suite, so its mirror, keys and options apply.

# Prints a deb822 or one-line entry for a suite of Debian: derive_source TYPE SUITE; fails if the
# machine uses no archive of Debian.
derive_source() {
    local type=$1 suite=$2 codename id entry file number
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    id=$(. /etc/os-release && echo "${ID:-}")
    entry=$(apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(SOURCESENTRY)' \
        'Created-By: Packages' 2>/dev/null |
        awk -F'|' -v id="$id" -v codename="$codename" \
            'tolower($1) == id && $2 == codename && $3 == "main" { print $4; exit }')
    [ "$id" = debian ] && [ -n "$entry" ] || return 1
    file=${entry%:*} number=${entry##*:}
    case $file in
        *.sources) derive_stanza "$type" "$suite" "$number" <"$file" ;;
        *) derive_line "$type" "$suite" "$number" <"$file" ;;
    esac
}

# Debian names its key rings after releases; the one without a name holds the keys of all.
all_keys() {
    sed -E 's#(/debian-archive-)[a-z]+-(stable|automatic|security-automatic)\.(gpg|asc|pgp)#\1keyring.gpg#g'
}

derive_stanza() {
    awk -v type="$1" -v suite="$2" -v number="$3" '
        BEGIN { RS = ""; FS = "\n" }
        NR == number {
            for (i = 1; i <= NF; i++) {
                name = tolower($i); sub(/:.*/, "", name)
                if ($i ~ /^#/) continue
                if ($i !~ /^[ \t]/) field = name
                if (field !~ /^(types|suites|components|enabled)$/) print $i
            }
            print "Types: " type "\nSuites: " suite "\nComponents: main"
        }' | all_keys
}

# deb [options] URI suite components...; an option may hold spaces only inside its brackets.
derive_line() {
    sed -n "$3p" | sed -E "s#^[ \t]*deb[ \t]+(\[[^]]*\][ \t]*)?([^ \t]+)[ \t].*#$1 \1\2 $2 main#" |
        all_keys
}
