"""Choose the words that a user's recognizer learns not to hear, and pack them into the package.

    python unknown_words.py DATA

reads DATA/synthesised/train, which synthesize.py made, and writes src/earmark/models/unknown_words.ogg: 256 different
words, each in a second of its own, 16 kHz, Ogg Vorbis; and unknown_words.md, which names them. The same data and
version of soundfile give the same bytes.
"""

from __future__ import annotations

import io
import sys
import textwrap
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from synthesize import ACCENTS, LABELS, VARIANTS, read_words

import earmark
from earmark.storage.files import write_atomically

DESTINATION = Path(earmark.__file__).parent / "models"
COUNT = 256
SEED = 0
RATE = 16_000  # Hz
SLOT = RATE  # samples that each word has to itself
EDGE = RATE // 50  # silence at both ends of a slot, so that no word reaches into another's
COMPRESSION = 0.9  # libsndfile's, from 0 to 1: 1 is the smallest file
PEAK_DB = (-20.0, -3.0)  # dBFS, how loud a word is
ALIKE = 0.75  # the share of their letters that two words may have in common, in order
# Kokoro mixes another voice each time and sounds most natural; the others add what it is not. Piper's voice is left
# out: it grew from another, lessac, whose recordings have a licence of their own.
ENGINES = {"kokoro": 0.6, "flite": 0.1, "pico": 0.1, "festival": 0.05, "espeak": 0.15}
# What people teach a recognizer above all: `far_from` finds most of them among the unknown ones, not all.
LIKELY = (
    "alexa computer mirror okay hello hey please thanks on off light lights music play pause next previous volume mute "
    "cancel start begin end select enter open close door lock camera alarm timer fire help hi clap whistle snap jump "
    "run bed cat happy tree dog bird house wow red green blue yellow black white one first last front back forward"
)
TEXT = """\
# Unknown words

`unknown_words.ogg` holds {count} different English words, each in a second of its own, 16 kHz, Ogg Vorbis. A training
on a user's clips takes them for `_unknown_`, so that the recognizer stays silent for words that it was never taught.
Read them with `earmark.training.open_set.unknown_words()`.

`recipes/words/unknown_words.py` chose them by lot from what `recipes/words/synthesize.py` speaks: no label of `words`,
nothing that `words` is tested on, and little that people like to teach. No person said any of them:

| voice | its licence | words |
| --- | --- | --- |
| Kokoro-82M, each word by another mixture of its voices | Apache-2.0 | {kokoro} |
| Flite: kal16, rms, slt | BSD-like (Carnegie Mellon University) | {flite} |
| Festival: kal, slt | BSD-like (University of Edinburgh, Carnegie Mellon University) | {festival} |
| Pico: en-US | Apache-2.0 | {pico} |
| espeak-ng: {accents} accents, {variants} variants | GPL-3.0, which does not extend to what it says | {espeak} |

The file is under Earmark's own licence, Apache-2.0.

{words}
"""

Samples = npt.NDArray[np.float32]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: unknown_words.py DATA")
    chosen = dict(choose(Path(sys.argv[1]) / "synthesised" / "train"))
    random = np.random.default_rng(SEED)
    slots = [slot(file, random) for file in chosen.values()]
    write_atomically(DESTINATION / "unknown_words.ogg", pack(np.concatenate(slots)))
    write_atomically(DESTINATION / "unknown_words.md", describe(chosen).encode())


def describe(chosen: dict[str, Path]) -> str:
    engines = [file.stem.partition("-")[0] for file in chosen.values()]
    return TEXT.format(
        count=len(chosen),
        accents=len(ACCENTS),
        variants=len(VARIANTS.split()),
        words=textwrap.fill(", ".join(chosen), 120),
        **{engine: engines.count(engine) for engine in ENGINES},
    )


def choose(speech: Path) -> Iterator[tuple[str, Path]]:
    """Words in random order, none like another, each with one clip of it that a slot can hold."""
    random = np.random.default_rng(SEED)
    taken = {*LABELS, *LIKELY.split(), *read_words("unseen_words.txt")}
    words = [word for word in read_words("unknown_words.txt") if word not in taken]
    chosen: list[str] = []
    for word in random.permutation(words).tolist():
        engine = random.choice(list(ENGINES), p=list(ENGINES.values()))
        files = [file for file in sorted((speech / word).glob(f"{engine}-*.flac")) if fits(file)]
        if not files or any(SequenceMatcher(None, word, other).ratio() > ALIKE for other in chosen):
            continue
        chosen.append(word)
        yield word, files[random.integers(len(files))]
        if len(chosen) == COUNT:
            return
    sys.exit(f"Only {len(chosen)} of {COUNT} words were found in {speech}: run synthesize.py first.")


def fits(file: Path) -> bool:
    return bool(soundfile.info(file).duration < (SLOT - 2 * EDGE) / RATE)


def slot(file: Path, random: np.random.Generator) -> Samples:
    """A second with the word in its middle, at a random level."""
    samples, rate = soundfile.read(file, dtype="float32")
    word = soxr.resample(samples, rate, RATE)
    word *= 10 ** (random.uniform(*PEAK_DB) / 20) / np.abs(word).max()
    before = (SLOT - len(word)) // 2
    return np.pad(word, (before, SLOT - len(word) - before)).astype(np.float32)


def pack(samples: Samples) -> bytes:
    """An Ogg Vorbis file. libsndfile gives its stream a random serial number; it becomes 1."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, "VORBIS", format="OGG", compression_level=COMPRESSION) as sound:
        for start in range(0, len(samples), SLOT):  # libvorbis keeps what it is given at once on the stack
            sound.write(samples[start : start + SLOT])
    return with_serial(file.getvalue(), 1)


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The same Ogg stream by another serial number.

    Source: RFC 3533, section 6: a page has its serial number at byte 14, its checksum at 22 (CRC-32 with the polynomial
    0x04c11db7, computed with the checksum itself zero), its number of segments at 26 and then their lengths.
    """
    pages = bytearray(ogg)
    start = 0
    while start < len(pages):
        segments = pages[start + 26]
        end = start + 27 + segments + sum(pages[start + 27 : start + 27 + segments])
        pages[start + 14 : start + 18] = serial.to_bytes(4, "little")
        pages[start + 22 : start + 26] = bytes(4)
        pages[start + 22 : start + 26] = ogg_checksum(pages[start:end]).to_bytes(4, "little")
        start = end
    return bytes(pages)


def ogg_checksum(page: bytes | bytearray) -> int:
    """CRC-32, most significant bit first, from 0, not inverted at the end."""
    checksum = 0
    for byte in page:
        checksum = checksum << 8 & 0xFFFFFFFF ^ CHECKSUMS[checksum >> 24 ^ byte]
    return checksum


def _checksum_of(byte: int) -> int:
    checksum = byte << 24
    for _ in range(8):
        checksum = checksum << 1 ^ (0x104C11DB7 if checksum >> 31 else 0)
    return checksum


CHECKSUMS = [_checksum_of(byte) for byte in range(256)]


if __name__ == "__main__":
    main()
