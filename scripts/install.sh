#!/usr/bin/env bash
# Usage: scripts/install.sh requirements.txt
# Makes .venv and installs a requirements file into it; does nothing when that was done already.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=${1:?usage: scripts/install.sh requirements.txt}
python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null; then
    echo "Python 3.11 or newer is needed, and '$python' was not found. Install it or set PYTHON." >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or newer is needed; '$python' is $("$python" --version). Set PYTHON to a newer one." >&2
    exit 1
fi
if [ ! -x .venv/bin/python ] && ! "$python" -m venv .venv; then
    rm -rf .venv
    echo "Could not make .venv. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2
    exit 1
fi

stamp=.venv/installed-$(basename "$requirements")
wanted=$(cat requirements*.txt | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "Installing $requirements into .venv (a minute or two the first time) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" 2> >(grep -v '^WARNING: Location' >&2)
    echo "$wanted" >"$stamp"
fi
