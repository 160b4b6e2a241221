"""Two studios, that is two processes, change one project at the same time: no label, clip or key frame is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Claim
from earmark import Project, read_clip
from reliability.faults_kills import RATE, digest, recording

LABELS, CLIPS = 5, 3  # of each program: the labels that it adds, and each one's clips
LONG_LABELS = 40
PROGRAMS = 2
COLOURS = ("#112233", "#445566", "#778899")


def change(folder: Path, name: str, labels: int) -> None:
    """One program: it adds labels and clips, sets key frames, and renames and colours what is its own."""
    project = Project(folder)
    print("ready", flush=True)
    sys.stdin.readline()
    expected = {}
    for number in range(labels):
        label = f"{name} {number}"
        project.add_label(label, COLOURS[0])
        for take in range(CLIPS):
            samples = recording(int(name), CLIPS * number + take)
            clip = project.add(label, samples, RATE, name=f"{take}")  # the same names in both
            project.set_key_frame(clip, take + 1)
        for colour in COLOURS:
            project.change_label(label, colour=colour)
        project.change_label(label, new_name=f"{label} renamed")
        moved = project.clips(f"{label} renamed")[0]
        project.move_clip(moved, "both")
        expected[f"{label} renamed"] = COLOURS[-1]
    print(json.dumps(expected), flush=True)


def run(long: bool) -> list[Claim]:
    """Two programs at once, each with 40 labels or 5, thrice as many clips, and their key frames."""
    labels = LONG_LABELS if long else LABELS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        Project(folder, create=True, mode="words", labels=("both",))
        command = [sys.executable, "-m", "reliability.faults_studios", str(folder)]
        programs = [
            subprocess.Popen(
                [*command, str(number), str(labels)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for number in range(PROGRAMS)
        ]
        expected: dict[str, str] = {"both": ""}
        for program in programs:
            assert program.stdout is not None
            program.stdout.readline()
        for program in programs:  # all together now
            assert program.stdin is not None
            program.stdin.write("\n")
            program.stdin.flush()
        wrong = []
        for program in programs:
            told = program.communicate()[0]
            if program.returncode:
                wrong.append("a program ended with an error")
            else:
                expected |= json.loads(told)
        return [_compare(Project(folder), labels, expected, wrong)]


def _compare(project: Project, labels: int, expected: dict[str, str], wrong: list[str]) -> Claim:
    found = {label.name: label.colour for label in project.label_settings()}
    lost = [name for name, colour in expected.items() if name not in found or colour not in ("", found[name])]
    recorded = {
        digest(recording(program, number)): number % CLIPS + 1
        for program in range(PROGRAMS)
        for number in range(labels * CLIPS)
    }
    key_frames = project.key_frames()
    there = {digest(read_clip(clip.path).samples): key_frames.get(clip.id) for clip in project.clips()}
    clips = len(recorded.keys() & there.keys())
    marks = sum(there.get(clip) == frame for clip, frame in recorded.items())
    measured = (
        f"{PROGRAMS} processes; labels {len(expected)}, lost {len(lost)}; clips {len(recorded)}, lost "
        f"{len(recorded) - clips}; key frames {len(recorded)}, lost {len(recorded) - marks}"
    )
    if wrong:
        measured += f"; {wrong[0]}"
    holds = not (lost or wrong) and clips == marks == len(recorded) == len(there) and found.keys() == expected.keys()
    return Claim("two studios change one project at the same time", "no label, clip or key frame lost", measured, holds)


if __name__ == "__main__":
    change(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
