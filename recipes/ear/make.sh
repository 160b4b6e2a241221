#!/bin/sh
# Make `ear`: unpack the data, distil, write the model, measure it. What is done already is not done again.
#   sh recipes/ear/make.sh PACKED WORK
# PACKED holds the packed corpora, with their unpack.py; WORK gets the recordings, the checkpoint and the model.
set -eu
[ $# = 2 ] || { echo "usage: make.sh PACKED WORK" >&2; exit 2; }
recipe=$(cd "$(dirname "$0")" && pwd)
root=$recipe/../..
python=$root/.venv/bin/python
make -C "$root" .venv/.studio
"$python" -m pip install --quiet --no-deps --constraint "$root/constraints.txt" --requirement "$recipe/requirements.txt"

for corpus in sound_events ambience background_noise talk_english_orders talk_yoruba art4apps_words mandarin_words \
    wake_words esc10; do
    [ -d "$2/data/$corpus" ] || "$python" "$1/unpack.py" "$corpus" "$2/data/$corpus"
done
# glibc would give large blocks back to the system and ask for them anew: half of the time would go to the kernel.
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1000000000:glibc.malloc.trim_threshold=2000000000
"$python" "$recipe/distill.py" "$2/data" "$2"
"$python" "$recipe/export.py" "$2/data" "$2" "$2/ear"
"$python" "$recipe/measure.py" "$2/data" --base "$2/ear/model.onnx"
