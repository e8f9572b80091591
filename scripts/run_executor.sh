#!/usr/bin/env bash
# Keeps one executor running: starts it again when it dies or hangs, waiting longer each time it dies at once.
# Arguments go to job_executor.py: ./scripts/run_executor.sh --device cuda:0 --batch 8
set -eu
cd "$(dirname "$0")/.."

python=.venv/bin/python
[ -x "$python" ] || { echo "There is no .venv yet. Run ./scripts/start.sh once, or ./scripts/install.sh requirements.txt." >&2; exit 2; }
exec "$python" -m starter executor "$@"
