#!/usr/bin/env bash
# PaddleHub's modules where docarray 0.21 is installed: their results are its own DocumentArrays, and its methods work.
# Usage: ./scripts/check_paddlehub.sh
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uv 2> >(grep -v '^WARNING: Location' >&2)
.venv/bin/python -c "from importlib.metadata import version as v; print(*(f'{n}=={v(n)}' for n in ('numpy', 'pillow', 'pydantic')), sep='\n')" >"$work/ours.txt"
"$work/venv/bin/uv" pip install --quiet --python "$work/venv/bin/python" --constraint "$work/ours.txt" 'docarray[common]==0.21.0'
# What is not there comes from our own environment.
.venv/bin/python -c "import site; print(site.getsitepackages()[0])" >"$("$work/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')/ours.pth"
PYTHONPATH=$PWD OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$work/venv/bin/python" scripts/check_paddlehub.py "$work"
