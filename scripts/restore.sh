#!/usr/bin/env bash
# A backup back into the database and the store: ./scripts/restore.sh FOLDER [--check] [--replace]
set -euo pipefail
from=$PWD
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || { echo "There is no .venv yet. Run ./scripts/start.sh once." >&2; exit 2; }
exec .venv/bin/python scripts/backup.py restore --from "$from" "$@"
