#!/bin/sh
# Trains the second family of embedded models in one call, on a machine with PyTorch and without internet, from the file
# that `python -m generator.training.offline_bundle FILE` has packed:
#
#   BUDGET_S=440 OUT=out ./train_offline.sh FILE
#
# It ends within BUDGET_S seconds. Weights (parts of at most 16 MB), sheets and scores go to $OUT as they come; a call that
# is cut off leaves what there was until then. LIMIT: only the first so many concepts, SCENES: at most so many pictures of
# several things, SCALE: cpu, gpu or trial.
set -eu
start=$(date +%s)
bundle=$(realpath "$1")
budget=${BUDGET_S:-440}
python=${PYTHON:-python3}
mkdir -p "${OUT:-out}"
out=$(realpath "${OUT:-out}")
work=${WORK:-$(mktemp -d)}
cd "$work"
"$python" -m tarfile -e "$bundle" .
. scripts/unpack_bundle.sh
"$python" -m generator.training.data --output data --side 128 --workers "$(nproc)" --seconds $((budget / 6)) \
    ${LIMIT:+--limit "$LIMIT"}
timeout --kill-after=5 $((budget / 5)) "$python" -m generator.training.compositions data --count "${SCENES:-20000}" \
    --workers "$(nproc)" --seconds $((budget / 10)) || echo "Pictures of one thing alone are trained on."
exec timeout --kill-after=5 $((start + budget - $(date +%s) + 5)) \
    "$python" -m generator.training.family --data data --output "$out" --work runs --scale "${SCALE:-auto}" \
    --deadline $((start + budget - 3))
