#!/bin/sh
# The browser tests need a Chromium or Chrome: use the one that is here, or else install one.
set -eu
python=$1
# Playwright, which drives it, brings a Node that needs a library which a minimal Debian lacks.
if ! "$python" -m playwright --version >/dev/null 2>&1; then
    if command -v apt-get >/dev/null; then
        sh "$(dirname "$0")/apt-install.sh" "libatomic for Playwright" "install libatomic" libatomic1
    fi
    "$python" -m playwright --version >/dev/null # says what it lacks still
fi
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ -d "/Applications/Google Chrome.app" ]; then exit 0; fi
if command -v apt-get >/dev/null; then
    exec sh "$(dirname "$0")/apt-install.sh" "A browser for the tests" "install Chromium or Chrome" chromium
fi
exec "$python" -m playwright install chromium
