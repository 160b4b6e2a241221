#!/bin/sh
# Make `words`: the data and both trainings. What is done already is not done again.
#   sh recipes/words/make.sh PACKED WORK
# PACKED holds the packed corpora (prepare.py says which); WORK gets the recordings, the checkpoint and the model.
set -eu
[ $# = 2 ] || { echo "usage: make.sh PACKED WORK" >&2; exit 2; }
recipe=$(cd "$(dirname "$0")" && pwd)
root=$recipe/../..
bin=$root/.venv/bin
data=$2/data

for program in espeak-ng flite festival; do
    command -v $program >/dev/null || missing=1
done
if [ "${missing:-}" ] || [ ! -d /usr/share/festival/voices/us ]; then
    apt-get update -qq
    apt-get install -y -qq espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
fi
make -C "$root" .venv/.studio
"$bin/python" -m pip install --quiet --constraint "$root/constraints.txt" --requirement "$recipe/requirements.txt"

[ -f "$data/prepared" ] || { "$bin/python" "$recipe/prepare.py" "$1" "$data" && touch "$data/prepared"; }
"$bin/python" "$recipe/synthesize.py" "$data/synthesised"

# glibc would give large blocks back to the system and ask for them anew: half of the time would go to the kernel.
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1000000000:glibc.malloc.trim_threshold=2000000000
export MALLOC_TOP_PAD_=500000000
revision=$(git -C "$root" log -1 --format=%H -- src recipes)
learn() {
    "$bin/earmark" pretrain "$@" --revision "$revision" \
        --data "$data/speech_commands" --data "$data/free_spoken_digits" --data "$data/wake_words" \
        --data "$data/synthesised" --noise "$data/background_noise" --noise "$data/esc10"
}
learn --output "$2/first"
mkdir -p "$2/words"
ln -f "$2"/first/data-*.npz "$2/words/" # as they were read serves both
learn --output "$2/words" --start "$2/first/checkpoint.pt" --epochs 8 --learning-rate 0.001 --strength 0.4
