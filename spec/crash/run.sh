# Prints the reliability figures: sh spec/crash/run.sh BUILD
#
# Power cuts need one core for a minute or two; meanwhile the other trials take their turns on
# the other. Planted bugs come last, on both.
build=$1
figures=$(mktemp) || exit 1
trap 'rm -f "$figures"' EXIT
failed=0

"$build/crash" simulate --states 1000000 >"$figures" 2>&1 &
simulation=$!
"$build/crash" faulty || failed=1
"$build/crash" flip || failed=1
"$build/crash" kill || failed=1
wait "$simulation" || failed=1
cat "$figures"
lua5.4 spec/mutants/run.lua || failed=1
exit $failed
