#!/bin/sh
# The tests compare with TensorFlow.js, which needs Node and npm: use those that are here, or else install them.
set -eu
if command -v node >/dev/null && command -v npm >/dev/null; then
    node -e 'process.exit(process.versions.node.split(".")[0] < 18 ? 1 : 0)' || {
        echo "The tests need Node 18 or newer, and this is $(node --version): install a newer one, e.g. from https://nodejs.org" >&2
        exit 1
    }
    exit 0
fi
exec sh "$(dirname "$0")/apt-install.sh" "Node for the tests" "install Node 18 or newer with npm" nodejs npm
