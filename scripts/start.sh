#!/usr/bin/env bash
# Starts the whole studio: executors and the web app. Ctrl-C stops both cleanly.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: ./scripts/start.sh [options]

  --executors N   executors to start (default 1)
  --device D      auto, cpu, cuda, cuda:N or mps (default auto)
  --port P        port of the web app (default 8501)
  --host H        address to listen on (default 0.0.0.0: phones on the same network can join;
                  127.0.0.1 keeps it to this machine)
  -h, --help      this text
TEXT
}

executors=1 device=auto port=8501 host=0.0.0.0
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --executors | --device | --port | --host)
        [ $# -ge 2 ] || { echo "$1 needs a value." >&2; exit 2; }
        printf -v "${1#--}" '%s' "$2"
        shift 2
        ;;
    *)
        echo "Unknown option '$1'." >&2
        usage >&2
        exit 2
        ;;
    esac
done
whole_number() { [[ $2 =~ ^[0-9]+$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || {
    echo "$1 must be a whole number from $3 to $4, not '$2'." >&2
    exit 2
}; }
whole_number --executors "$executors" 1 64
whole_number --port "$port" 1 65535

./scripts/install.sh requirements.txt
cores=$(nproc 2>/dev/null || sysctl -n hw.ncpu)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(((cores + executors - 1) / executors))}
# Threads that wait for work sleep instead of spinning: executors, web app and films share the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}

if ! .venv/bin/python scripts/show_address.py --check-free "$host" "$port"; then
    exit 1
fi

logs=data/logs
mkdir -p "$logs"
pids=()
stop() {
    trap '' INT TERM
    echo
    echo "Stopping: running jobs are saved and go on at the next start ..."
    kill -TERM "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
    echo "Stopped."
}
trap 'stop; exit 0' INT TERM

# set -m gives every child its own process group, so that Ctrl-C reaches this script alone
# and the children are stopped in order.
set -m
for n in $(seq "$executors"); do
    ./scripts/run_executor.sh --device "$device" >"$logs/executor-$n.log" 2>&1 &
    pids+=($!)
done
.venv/bin/python -m streamlit run webapp.py --server.port "$port" --server.address "$host" \
    --server.headless true >"$logs/webapp.log" 2>&1 &
pids+=($!)
set +m

if ! .venv/bin/python scripts/show_address.py --wait "${pids[@]}" --executors "$executors" "$host" "$port"; then
    echo "The studio did not become ready. The logs:" >&2
    tail -n 15 "$logs"/*.log >&2
    stop
    exit 1
fi

all_alive() { local pid; for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || return 1; done; }
while all_alive; do
    sleep 1 &
    wait $! || true
done
echo "A part of the studio stopped by itself; see $logs/." >&2
stop
exit 1
