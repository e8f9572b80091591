#!/usr/bin/env bash
# Starts the whole studio: executors and the web app, and keeps them running. Ctrl-C stops all cleanly.
# Options: ./scripts/start.sh --help
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
# A wrong option is answered before anything is installed. Where Python is missing or too old, install.sh says so.
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    case " $* " in *" -h "* | *" --help "*) exec "$python" -m starter studio --help ;; esac
    "$python" -m starter studio --check "$@"
fi
./scripts/install.sh requirements.txt
exec .venv/bin/python -m starter studio "$@"
