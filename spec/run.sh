# Runs the specs, two processes side by side, and closes with `N passed, N failed`:
#
#     MOONLOG_BUILD=build sh spec/run.sh [FILE …]
#
# busted plays one file after the other, and most of them wait for a daemon half of the time.
# SANITIZE holds what the interpreter's environment needs besides.
AT_ONCE=2
FILES=4 # a process: few enough that both end at about the same time

results=$(mktemp -d) || exit 1
trap 'rm -rf "$results"' EXIT
busted=$(command -v busted) || { echo "busted is not installed: lua-busted"; exit 1; }
export SANITIZE busted

# A process that dies without its closing line is one failure.
# shellcheck disable=SC2016
if [ $# -gt 0 ]; then printf '%s\n' "$@"; else find spec -name '*_spec.lua' | sort; fi |
    xargs -P $AT_ONCE -n $FILES sh -c '
        out=$(mktemp "$0/XXXXXX")
        env $SANITIZE lua5.4 "$busted" "$@" </dev/null >"$out" 2>&1
        status=$?
        grep -q "^[0-9]* passed, [0-9]* failed" "$out" ||
            printf "%s\nended with status %s\n0 passed, 1 failed\n" "$*" $status >>"$out"
        sed "/ successes \/ /d; /^[0-9]* passed, /d; /^$/d" "$out"' "$results"

cat "$results"/* | awk -F '[ ,]+' '/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3; s += $5 }
    END { printf "\n%d passed, %d failed%s\n", p, f, s ? ", " s " skipped" : ""; exit !(p && !f) }'
