#!/bin/sh
# The tests of the microphone need PortAudio, which sounddevice brings along for macOS and Windows, but not for Linux.
set -eu
python=$1
if "$python" -c '
import sys
try:
    import sounddevice
except OSError:  # this alone means that the library is missing
    sys.exit(3)
'; then exit 0; elif [ $? -ne 3 ]; then exit 1; fi
exec sh "$(dirname "$0")/apt-install.sh" "PortAudio for the tests" "install PortAudio" libportaudio2
