#!/bin/sh
# Measures every engine on a GPU in one call, on a machine with PyTorch and without internet, from the file that
# `python scripts/pack_measuring.py FILE` has packed:
#
#   BUDGET_S=350 OUT=out ./measure_gpu.sh FILE
#
# It ends within BUDGET_S seconds. results.json, results.md and log.txt are in $OUT, as far as it came, from the first
# measurement on. SCALE=trial DEVICE=cpu goes through all of it on a CPU.
set -eu
start=$(date +%s)
bundle=$(realpath "$1")
budget=${BUDGET_S:-350}
python=${PYTHON:-python3}
mkdir -p "${OUT:-out}"
out=$(realpath "${OUT:-out}")
work=${WORK:-$(mktemp -d)}
cd "$work"
"$python" -m tarfile -e "$bundle" .
. scripts/unpack_bundle.sh
touch scripts/__init__.py tests/__init__.py # so that no package of that name on the machine is taken for them
left=$((start + budget - $(date +%s)))
exec timeout --kill-after=5 "$left" "$python" scripts/measure_gpu.py --output "$out" --seconds $((left - 3)) \
    --device "${DEVICE:-cuda}" --scale "${SCALE:-real}"
