#!/bin/sh
# Installs packages of Debian or its kin, or says in one sentence what is missing: apt-install.sh WHAT REMEDY PACKAGE...
set -eu
what=$1 remedy=$2
shift 2
if ! command -v apt-get >/dev/null; then
    echo "$what is missing, and there is no apt-get to install it: $remedy, then run this again." >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null; then
    as_root="sudo"
else
    echo "$what is missing, and installing it needs root or sudo: run apt-get install $* as root, then this again." >&2
    exit 1
fi
echo "Installing $what ($*)…"
# As little as apt says where all is well; what goes wrong, it says.
if ! { $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends "$@"; }; then
    echo "$what could not be installed; apt-get says why above. Mend that, or $remedy, then run this again." >&2
    exit 1
fi
