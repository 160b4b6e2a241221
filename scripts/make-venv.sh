#!/bin/sh
# make-venv.sh PYTHON FOLDER: makes an environment. Debian and its kin keep the module for it in a package of its own.
set -eu
python=$1 folder=$2
command -v "$python" >/dev/null || {
    echo "There is no $python here: install Python 3.10 or newer, or name it, e.g. make PYTHON=python3.12 studio" >&2
    exit 1
}
"$python" -c '' || {
    echo "$python can't be run: name another Python, 3.10 or newer, e.g. make PYTHON=python3.12 studio" >&2
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "Earmark needs Python 3.10 or newer, and $python is older: name one, e.g. make PYTHON=python3.12 studio" >&2
    exit 1
}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$python" -c 'import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, ("ensurepip", "venv"))))'; then
    sh "$(dirname "$0")/apt-install.sh" "What makes virtual environments for Python $version" \
        "install Python's modules venv and ensurepip" "python$version-venv"
fi
"$python" -m venv "$folder" || {
    rm -rf "$folder" # half of one would be taken for a whole one
    exit 1
}
