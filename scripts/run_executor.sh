#!/usr/bin/env bash
# Keeps one executor running: starts it again when it dies, waiting longer each time it dies at once.
# Arguments go to job_executor.py: ./scripts/run_executor.sh --device cuda:0 --batch 8
set -u
cd "$(dirname "$0")/.."

python=.venv/bin/python
[ -x "$python" ] || { echo "There is no .venv yet. Run ./scripts/start.sh once, or ./scripts/install.sh requirements.txt." >&2; exit 2; }

child='' stopping=''
forward() {
    stopping=1
    [ -n "$child" ] && kill -"$1" "$child" 2>/dev/null
}
trap 'forward TERM' TERM HUP
trap 'forward INT' INT

shortest=1 longest=60
wait_s=$shortest
while :; do
    started=$SECONDS
    "$python" job_executor.py "$@" &
    child=$!
    # A trapped signal interrupts wait; the executor may still be saving then.
    wait "$child"
    status=$?
    while [ -n "$stopping" ] && [ "$status" -gt 128 ]; do
        wait "$child"
        ended=$?
        [ "$ended" = 127 ] && break
        status=$ended
        kill -0 "$child" 2>/dev/null || break
    done
    # 0: it has ended in good order. 2: it cannot work as configured, or its database was replaced, and said why.
    [ -n "$stopping" ] || [ "$status" = 0 ] || [ "$status" = 2 ] && exit "$status"
    [ $((SECONDS - started)) -ge 60 ] && wait_s=$shortest
    echo "The executor died with status $status; starting it again in $wait_s s." >&2
    sleep "$wait_s" &
    child=$!
    wait "$child"
    [ -n "$stopping" ] && exit 0
    wait_s=$((wait_s * 2 < longest ? wait_s * 2 : longest))
done
