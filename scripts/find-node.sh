#!/bin/sh
# The tests compare with TensorFlow.js, which needs Node and npm: use those that are here, or else install them.
set -eu
if command -v node >/dev/null && command -v npm >/dev/null; then exit 0; fi
echo "No Node was found: installing it for the tests against TensorFlow.js…"
if ! command -v apt-get >/dev/null; then
    echo "The tests need Node 18 or newer with npm: install it, e.g. from https://nodejs.org" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root="sudo"; fi
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends nodejs npm
