#!/usr/bin/env bash
# Pins every package with its hashes, for Python 3.11 and newer on every system. Run it after changing a requirement.
#   requirements.lock      all of requirements.txt and requirements-server.txt, as PyPI has it
#   requirements-web.lock  the same without PyTorch: what the web app needs, and an executor beside its build of PyTorch
# Usage: ./scripts/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check uv 2> >(grep -v '^WARNING: Location' >&2)

lock() {
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command ./scripts/lock.sh \
        requirements.txt requirements-server.txt "$@"
}

lock --output-file requirements.lock "$@"
pytorch=$(grep -oE '^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==' requirements.lock | tr -d =)
cp requirements.lock requirements-web.lock  # uv keeps the versions it finds in the file it writes
# shellcheck disable=SC2046,SC2086  # one option a package
lock --output-file requirements-web.lock $(printf -- '--no-emit-package %s ' $pytorch)
