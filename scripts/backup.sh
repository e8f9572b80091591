#!/usr/bin/env bash
# A backup of the studio while it runs: ./scripts/backup.sh FOLDER [--keep N]
set -euo pipefail
from=$PWD
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || { echo "There is no .venv yet. Run ./scripts/start.sh once." >&2; exit 2; }
exec .venv/bin/python scripts/backup.py backup --from "$from" "$@"
