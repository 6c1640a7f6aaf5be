#!/bin/sh
# The guided tour of the bank: plays itself to the end, and can be played again.
#   MOONLOG  the program (default: moonlog)      DATA  where its store is (default: ./moonlog-data)
set -eu

here=$(dirname "$0")
program=${MOONLOG:-moonlog}
build=$(dirname "$(command -v "$program")")
MOONLOG_DATA=${DATA:-./moonlog-data}
LUA_CPATH_5_4="$build/?.so;${LUA_CPATH_5_4:-${LUA_CPATH:-;}}"
export MOONLOG_DATA LUA_CPATH_5_4
unset MOONLOG_CONNECT

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
fold() {
    show lua5.4 "$here/balance.lua" "$@"
    lua5.4 "$here/balance.lua" "$@"
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
moonlog read account-ada

say 'Her balance is stored nowhere. It is her events, folded.'
fold account-ada

say 'So the past is there too: her balance as of revision 2.'
fold account-ada --at 2

say 'A transfer touches two accounts. Its two events share a tag, across streams.'
moonlog read '$all' --tag transfer:1

say "An append may say where it believes the stream to be. This one is out of date."
refused 4 moonlog append account-ada Withdrawn '{"amount": 1300}' --expected 0

say 'Nothing was written, and every stored byte still has its checksum.'
moonlog verify --deep

say 'That was the tour. `moonlog help` lists all verbs; examples/bank/README.md goes on from here.'
