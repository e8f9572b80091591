#!/usr/bin/env bash
# The studio in a tmux session: the web app, N executors and a watch on the GPU, a pane each.
# Usage: ./scripts/set_up_env.sh [N executors, default 1] [port, default 8501]
set -euo pipefail
cd "$(dirname "$0")/.."

executors=${1:-1} port=${2:-8501} session=${T2I_TMUX_SESSION:-text2image}
for value in "$executors" "$port"; do
    [[ $value =~ ^[1-9][0-9]*$ ]] || {
        echo "Usage: ./scripts/set_up_env.sh [executors] [port]: '$value' is not a whole number above 0." >&2
        exit 2
    }
done
if ! command -v tmux >/dev/null; then
    echo "tmux is not installed. Install it (Debian, Ubuntu: sudo apt-get install tmux; macOS: brew install tmux)," >&2
    echo "or start the studio without it: ./scripts/start.sh" >&2
    exit 1
fi
if tmux has-session -t "=$session" 2>/dev/null; then
    echo "The session '$session' runs already. Attach: tmux attach -t $session   Stop: tmux kill-session -t $session"
    exit 0
fi

./scripts/install.sh requirements.txt

if command -v nvidia-smi >/dev/null; then
    watch_command="watch -n 1 nvidia-smi"
elif command -v htop >/dev/null; then
    watch_command=htop
else
    watch_command=top
fi

tmux new-session -d -s "$session" -n studio -x 200 -y 50 \
    ".venv/bin/python -m starter web --port $port"
tmux set-option -t "$session" -w remain-on-exit on
for _ in $(seq "$executors"); do
    tmux split-window -t "$session:studio" "./scripts/run_executor.sh"
    tmux select-layout -t "$session:studio" tiled >/dev/null
done
tmux split-window -t "$session:studio" "$watch_command"
tmux select-layout -t "$session:studio" tiled >/dev/null

echo "Web app: http://localhost:$port"
if [ -t 1 ] && [ -z "${TMUX:-}" ]; then
    exec tmux attach -t "$session"
fi
echo "Attach: tmux attach -t $session   Stop: tmux kill-session -t $session"
