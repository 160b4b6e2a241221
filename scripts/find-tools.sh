#!/bin/sh
# The tests of privacy trace network calls by strace, which Linux alone has; elsewhere they are left out.
set -eu
if [ "$(uname)" != Linux ] || command -v strace >/dev/null; then exit 0; fi
if ! command -v apt-get >/dev/null; then
    echo "No strace was found: install it, or the tests that trace network calls are left out." >&2
    exit 0
fi
echo "No strace was found: installing it for the tests that trace network calls…"
if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root="sudo"; fi
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends strace
