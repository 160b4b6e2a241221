#!/bin/sh
# The browser tests need a Chromium or Chrome: use the one that is here, or else install one.
set -eu
python=$1
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ -d "/Applications/Google Chrome.app" ]; then exit 0; fi
if command -v apt-get >/dev/null; then
    exec sh "$(dirname "$0")/apt-install.sh" "A browser for the tests" "install Chromium or Chrome" chromium
fi
exec "$python" -m playwright install chromium
