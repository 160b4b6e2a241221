#!/bin/sh
# make-venv.sh PYTHON FOLDER: makes an environment. Debian and its kin keep the module for it in a package of its own.
set -eu
python=$1 folder=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "Earmark needs Python 3.10 or newer: name one, e.g. make PYTHON=python3.12 studio" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null && command -v apt-get >/dev/null; then
    echo "This Python can't make virtual environments yet: installing python3-venv…"
    if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root="sudo"; fi
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq python3-venv
fi
exec "$python" -m venv "$folder"
