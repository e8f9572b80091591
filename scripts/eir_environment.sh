#!/usr/bin/env bash
# EIR's own trainer (eir-dl 0.25) in an environment of its own, which needs Python 3.13: FOLDER/eirtrain runs it, in
# FOLDER/work. Where this machine has Python 3.13 (in PATH, in PYTHON, or from pyenv) that is a venv; else Debian 13 is
# unpacked beside it (debootstrap and root are needed). About 8 GB, mostly of the CUDA libraries of PyTorch's package.
# Usage: ./scripts/eir_environment.sh [FOLDER]
set -euo pipefail

folder=$(realpath -m "${1:-data/eir}")
mkdir -p "$folder"
packages=(eir-dl==0.25.0)

install() { # INTERPRETER VENV PACKAGES...; uv resolves in seconds what pip does in minutes
    cat <<'SCRIPT'
set -eu
python=$1 venv=$2
shift 2
[ -x "$venv/bin/uv" ] || { "$python" -m venv "$venv"; "$venv/bin/pip" install --quiet --disable-pip-version-check uv; } 2> >(grep -v '^WARNING: Location' >&2)
"$venv/bin/uv" pip install --quiet --no-cache --python "$venv/bin/python" "$@"
SCRIPT
}

python=
for candidate in ${PYTHON:-python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13}; do
    # a shim may stand in the path for a Python that is not there
    if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done

if [ -n "$python" ]; then
    mkdir -p "$folder/work"
    bash -c "$(install)" install "$python" "$folder/venv" "${packages[@]}"
    cat >"$folder/eirtrain" <<END
#!/bin/sh
cd '$folder/work' && exec '$folder/venv/bin/eirtrain' "\$@"
END
else
    root=$folder/root
    if [ ! -x "$root/usr/bin/python3.13" ]; then
        debootstrap --variant=minbase --include=python3.13,python3.13-venv,ca-certificates trixie "$root" \
            >"$folder/debootstrap.log" 2>&1 || { tail -n 5 "$folder/debootstrap.log" >&2; exit 1; }
    fi
    mkdir -p "$root/work"
    ln -sfn root/work "$folder/work"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    # Whatever this machine trusts and wherever it finds packages holds in there, too.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_FIND_LINKS='' \
        chroot "$root" bash -c "$(install)" install python3.13 /opt/eir "${packages[@]}"
    cat >"$folder/eirtrain" <<END
#!/bin/sh
# /proc and shared memory are there for this command alone, in a mount namespace that ends with it.
exec unshare --mount sh -c '
    mount --rbind /proc "\$0/proc" && mount --rbind /dev "\$0/dev" && root=\$0 &&
    exec chroot "\$root" sh -c "cd /work && exec /opt/eir/bin/eirtrain \"\\\$@\"" eirtrain "\$@"
' '$root' "\$@"
END
fi
chmod +x "$folder/eirtrain"
echo "$folder/eirtrain"
