# Prints the figures of the daemon under load and faults: sh spec/siege/run.sh BUILD
#
# SHORT=1 takes less than a minute; SEED=… plays a run that failed again.
build=$1
seed=${SEED:-$(date +%s)}
failed=0

# siege TRIAL OPTION FULL SHORT …
siege() {
    trial=$1
    shift
    words=
    while [ $# -gt 0 ]; do
        if [ -n "$SHORT" ]; then words="$words $1 $3"; else words="$words $1 $2"; fi
        shift 3
    done
    # shellcheck disable=SC2086
    "$build/siege" "$trial" --seed "$seed" $words || failed=1
}

siege kill --kills 300 40
siege rules --kills 300 20
siege views --kills 500 30 --events 200000 30000
siege reloads --reloads 200 20
siege pace --events 1000000 100000 --reloads 20 3
siege resume --deliveries 1000000 100000
siege idle --connections 10000 10000
siege slow --readers 1000 1000 --rounds 9 3
siege half --frames 1000 1000
siege storm --connections 10000 2000
siege descriptors --connections 300 300
siege full --rounds 5 2
siege mixed --clients 16 16 --requests 100000 20000
exit $failed
