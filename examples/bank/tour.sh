#!/bin/sh
# The guided tour of the bank: plays itself to the end, and can be played again.
#   MOONLOG  the program (default: moonlog)      DATA  where its store is (default: ./moonlog-data)
set -eu

here=$(dirname "$0")
program=${MOONLOG:-moonlog}
MOONLOG_DATA=${DATA:-./moonlog-data}
export MOONLOG_DATA
unset MOONLOG_CONNECT

changed=$(mktemp -d)
trap 'rm -rf "$changed"' EXIT

say() { printf '\n%s\n' "$1"; }

# A command as one would type it.
show() {
    printf '\n  $'
    for word; do
        case $word in
        *[!A-Za-z0-9_./=:-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
}
moonlog() {
    show moonlog "$@"
    "$program" "$@" -o table
}
# Runs a command that must be refused with this exit status.
refused() {
    wanted=$1
    shift
    status=0
    "$@" 2>&1 || status=$?
    printf 'exit status %s\n' "$status"
    [ "$status" -eq "$wanted" ]
}

say 'A bank that keeps events: what happened, never what is.'
status=0
"$program" head account-dee >/dev/null 2>&1 || status=$?
case $status in
0) say "Its history is in $MOONLOG_DATA already." ;;
3) say 'Twenty events of four accounts go in, synced to the disk before they count.'
   moonlog import "$here/history.ndjson" ;;
*) exec "$program" head account-dee ;;
esac

say "Ada's account is a stream: opened, then +500, -200, +1000."
moonlog read account-ada --raw

say 'Rules say what events add up to, and what may happen next. They are Lua, and go into the log.'
moonlog rules load "$here/rules"

say "Ada's balance is stored nowhere. It is her events, folded."
moonlog state account ada

say 'So the past is there too: as of revision 2, and as of a day.'
moonlog state account ada --at 2
moonlog state account ada --as-of 2026-01-07T00:00:00Z

say 'A command is decided by a rule. Sent again under the same id, it happens once.'
moonlog command account eve open owner=Eve --command-id tour-1
moonlog command account eve deposit amount=100 --command-id tour-2
moonlog command account eve deposit amount=100 --command-id tour-2

say 'What is asked across all accounts is a read model: rows that a rule keeps up with the log.'
moonlog projection scan balances --index balance --backward
moonlog projection get daily_totals Deposited --window 2026-01-15T00:00:00Z

say 'What business refuses is an answer with a code, and nothing is written.'
refused 5 moonlog command account eve withdraw amount=500

say "Ada's account was opened in the old days: such events are translated when they are read."
moonlog read account-ada --limit 1

say 'Rules are swapped while the daemon serves: nobody shall withdraw over 10 at once.'
cp -r "$here/rules/." "$changed"
sed -i 's/^ *if c.amount > available/if c.amount > 10 then return moonlog.refuse "OVER_LIMIT" end\n&/' \
    "$changed/account.lua"
moonlog rules diff "$changed"
moonlog rules load "$changed"
refused 5 moonlog command account eve withdraw amount=50

say 'Rules that are wrong are refused, and the old ones stay.'
sed -i 's/^  on = {/  no = {/' "$changed/account.lua"
refused 7 moonlog rules load "$changed"

say 'Back to the first ones.'
moonlog rules load "$here/rules"

say 'Whoever appends by hand may say where they believe the stream to be. This is out of date.'
refused 4 moonlog append account-ada Withdrawn '{"amount": 1300}' --expected 0

say 'And every stored byte still has its checksum.'
moonlog verify --deep

say 'That was the tour. `moonlog help` lists all verbs; examples/bank/README.md is a longer walk.'
