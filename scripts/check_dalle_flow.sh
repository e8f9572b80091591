#!/usr/bin/env bash
# DALL-E Flow's own notebook, with its unmodified client (docarray 0.21, jina 3.27.20), against this studio's API.
# Without an address it starts the API and an executor on the embedded models, in a temporary folder.
# Usage: ./scripts/check_dalle_flow.sh [http://host:port]
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
started=()
end() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap end EXIT

# The client needs pydantic 1 and cannot share our environment. uv resolves its pins in seconds, pip in a quarter of an hour.
"${PYTHON:-python3}" -m venv "$work/client"
"$work/client/bin/pip" install --quiet --disable-pip-version-check uv 2> >(grep -v '^WARNING: Location' >&2)
"$work/client/bin/uv" pip install --quiet --python "$work/client/bin/python" \
    'jina==3.27.20' 'docarray[common]==0.21.0' 'pydantic<2' 'setuptools<81'

address=${1:-}
if [ -z "$address" ]; then
    export T2I_DATABASE_URL="sqlite:///$work/jobs.db" T2I_STORE_URL="file://$work/artefacts"
    export T2I_DEFAULT_ENGINE=latent-diffusion T2I_DEFAULT_CHECKPOINT=mini-latent-diffusion
    export OMP_NUM_THREADS=1  # threads that wait for each other stand still where others want the cores
    port=$(.venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    address=http://127.0.0.1:$port
    .venv/bin/python -m api --port "$port" >"$work/api.log" 2>&1 & started+=($!)
    .venv/bin/python job_executor.py --device cpu >"$work/executor.log" 2>&1 & started+=($!)
    for _ in $(seq 240); do
        "$work/client/bin/python" -c "import urllib.request as u; u.urlopen('$address/healthz')" 2>/dev/null && break
        kill -0 "${started[0]}" || { cat "$work/api.log"; exit 1; }
        sleep 0.5
    done
fi
JINA_HIDE_SURVEY=1 JINA_OPTOUT_TELEMETRY=1 "$work/client/bin/python" scripts/check_dalle_flow.py "$address" "$work" ||
    { tail -n 20 "$work"/*.log; exit 1; }
