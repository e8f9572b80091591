#!/usr/bin/env bash
# Lints, type-checks and tests, in two processes of one thread each. Arguments go to pytest: ./scripts/test.sh -k queue
set -euo pipefail
cd "$(dirname "$0")/.."

./scripts/install.sh requirements-dev.txt

# The browser tests need a Chromium; as root on Debian it is installed, elsewhere they are skipped visibly.
if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null && ! command -v chromium-browser >/dev/null \
    && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 ||
        echo "Chromium could not be installed: the browser tests are skipped."
fi

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy

# Compiled tests are kept: to compile them anew, in each process, takes half of the time until the first test.
unset PYTHONDONTWRITEBYTECODE
OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses 2 --dist loadfile "$@"
