#!/bin/sh
# The tests of privacy trace network calls by strace, which Linux alone has; elsewhere they are left out.
set -eu
if [ "$(uname)" != Linux ] || command -v strace >/dev/null; then exit 0; fi
exec sh "$(dirname "$0")/apt-install.sh" "strace for the tests that trace network calls" "install strace" strace
