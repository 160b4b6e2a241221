#!/bin/sh
# The browser tests need a Chromium or Chrome: use the one that is here, or else install one.
set -eu
python=$1
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ -d "/Applications/Google Chrome.app" ]; then exit 0; fi
echo "No Chromium was found: installing one for the browser tests…"
if command -v apt-get >/dev/null; then
    if [ "$(id -u)" -eq 0 ]; then as_root=""; else as_root="sudo"; fi
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq chromium
else
    "$python" -m playwright install chromium
fi
