# Prints the reliability figures: sh spec/crash/run.sh BUILD
#
# With SHORT=1 a sample of them. Power cuts need one core for a minute or two; meanwhile the other
# trials take their turns on the other. Planted bugs come last, on both.
build=$1
figures=$(mktemp) || exit 1
trap 'rm -f "$figures"' EXIT
failed=0
states=1000000 every=1
[ -z "$SHORT" ] || states=200000 every=7

"$build/crash" simulate --states $states >"$figures" 2>&1 &
simulation=$!
"$build/crash" faulty || failed=1
"$build/crash" flip --every $every || failed=1
"$build/crash" kill || failed=1
wait "$simulation" || failed=1
cat "$figures"
lua5.4 spec/mutants/run.lua || failed=1
exit $failed
