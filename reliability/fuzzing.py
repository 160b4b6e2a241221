"""Fuzzing: every parser that reads outside bytes, each in a process of its own, which may die of a case.

`python -m reliability.fuzzing TARGET --cases N --seconds S --seed N` runs one target alone. The last line says how many
cases there were and what was found; each finding is kept as a file, and belongs into `corpus/<target>/` once mended.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.table import Claim
from reliability.fuzz_child import STATE, STATE_BYTES, keep_finding
from reliability.fuzz_targets import TARGETS, corpus_of

LONG_CASES, LONG_SECONDS = 1_000_000, 1_800.0
SHORT_SECONDS = 300.0  # a bound that no short run reaches, unless something hangs
CASE_SECONDS = 10.0  # of the processor, that a case may take
STUCK_SECONDS = 120.0  # that it may last, however little it does
CASE_BYTES = 2 << 30  # that it may add to the process
MOST_DEATHS = 50  # of a target's processes, until it is given up
# Atheris never lets go of an array that was compared: 8 KiB a case where a target compares such.
PROCESS_CASES = 100_000
POLL_SECONDS = 0.1
TOLD_SECONDS = 60.0  # between two lines of progress
AT_ONCE = 2


@dataclass
class Outcome:
    """What came of a target.

    Attributes:
        name: of the target.
        cases, seconds: how many, in how long.
        peak: the most bytes that its process held.
        coverage: branches that were reached, where that is known.
        findings: what each one is, in a line.
        folder: where they are kept; None where there are none.
    """

    name: str
    cases: int = 0
    seconds: float = 0.0
    peak: int = 0
    coverage: int | None = None
    findings: list[str] = field(default_factory=list)
    folder: Path | None = None

    def __str__(self) -> str:
        rate = self.cases / self.seconds if self.seconds else 0.0
        told = f"{self.name}: {self.cases:,} cases in {self.seconds:.0f} s, {rate:,.0f} a second"
        told += f", {self.peak >> 20:,} MiB at most"
        told += f", {self.coverage:,} branches" if self.coverage is not None else ""
        told += f", {len(self.findings)} findings" + (f" in {self.folder}" if self.folder else "")
        return told


class Fuzz:
    """One target, in processes that follow one another where they die.

    Args:
        name: of the target.
        cases, seconds: how many at most, and how long.
        seed: the first one; a process that follows another has the next.
        plain: whether coverage is left out, so that the cases are the same each time.
        findings: where to keep what is found.
        module: whose `TARGETS` has it.
    """

    def __init__(
        self,
        name: str,
        cases: int,
        seconds: float,
        seed: int = 0,
        *,
        plain: bool = False,
        findings: Path,
        module: str = "reliability.fuzz_targets",
    ) -> None:
        self._module = module
        self._cases, self._seconds, self._seed, self._plain = cases, seconds, seed, plain
        self._findings = findings / name
        self._outcome = Outcome(name)
        self._done = 0  # cases of the processes that have ended

    def run(self) -> Outcome:
        """Run it to its end."""
        self._findings.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        before = set(self._findings.glob("*.txt"))
        with tempfile.TemporaryDirectory(prefix="earmark-fuzz-", dir=_fast_folder()) as folder:
            scratch = Path(folder).resolve()
            number = deaths = 0
            while deaths < MOST_DEATHS:
                left, seconds = self._cases - self._done, self._seconds - (time.monotonic() - began)
                before_it = self._done
                if left <= 0 or seconds <= 0:
                    break
                deaths += not self._run_process(scratch, min(left, PROCESS_CASES), seconds, self._seed + number)
                number += 1
                if self._done == before_it:  # it can't even begin, and another one couldn't, either
                    break
        self._outcome.cases, self._outcome.seconds = self._done, time.monotonic() - began
        new = sorted(set(self._findings.glob("*.txt")) - before)
        self._outcome.findings = sorted({path.read_text("utf-8").splitlines()[0] for path in new})
        if new:
            self._outcome.folder = self._findings
        return self._outcome

    def _run_process(self, scratch: Path, cases: int, seconds: float, seed: int) -> bool:
        """Whether it ended by itself; a case that it died of is kept."""
        state = scratch / "state"
        state.write_bytes(bytes(STATE_BYTES))
        command = [
            sys.executable,
            "-m",
            "reliability.fuzz_child",
            self._outcome.name,
            *("--module", self._module),
            *(["--plain"] if self._plain else []),
        ]
        paths = {"--state": state, "--findings": self._findings, "--scratch": scratch}
        numbers = {"--cases": cases, "--seconds": seconds, "--seed": seed}
        command += [str(part) for option in (paths | numbers).items() for part in option]
        root = str(Path(__file__).parents[1])
        environment = os.environ | {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        with (scratch / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
            try:
                killed = self._watch(process, state)
            finally:
                process.kill()
                process.wait()
        log_text = (scratch / "log").read_text(errors="replace")
        branches = [int(found) for found in re.findall(r"cov: (\d+)", log_text)]
        self._outcome.coverage = max([*branches, self._outcome.coverage or 0]) if branches else self._outcome.coverage
        count, size = _read_state(state)
        self._done += count
        if process.returncode == 0:
            return True
        data = state.read_bytes()[STATE.size : STATE.size + size]
        reason = killed or f"the process ended with {process.returncode}"
        keep_finding(self._findings, data, f"{reason}\n{log_text[-8_000:]}")
        return False

    def _watch(self, process: subprocess.Popen[bytes], state: Path) -> str | None:
        """Wait for its end; what a case did that it was killed for, if it was."""
        known = psutil.Process(process.pid)
        base, count, used, since, told = 0, 0, 0.0, time.monotonic(), time.monotonic()
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            try:
                memory, times, now = known.memory_info().rss, known.cpu_times(), time.monotonic()
            except psutil.Error:
                continue
            work = times.user + times.system
            self._outcome.peak = max(self._outcome.peak, memory)
            if (begun := _read_state(state)[0]) != count or begun == 0:
                base = base or (memory if begun else 0)
                count, used, since = begun, work, now
            if base and memory > base + CASE_BYTES:
                return f"a case took more than {CASE_BYTES >> 30} GiB"
            if begun and (work - used > CASE_SECONDS or now - since > STUCK_SECONDS):
                return f"a case took more than {CASE_SECONDS:.0f} s"
            if now - told > TOLD_SECONDS:
                told = now
                print(f"{self._outcome.name}: {self._done + begun:,} cases", file=sys.stderr, flush=True)
        return None


def fuzz(name: str, cases: int, seconds: float, seed: int = 0, *, plain: bool = False, findings: Path) -> Outcome:
    """Fuzz one target; see `Fuzz`."""
    outcome = Fuzz(name, cases, seconds, seed, plain=plain, findings=findings).run()
    print(outcome, file=sys.stderr, flush=True)
    return outcome


def run(long: bool) -> list[Claim]:
    """All targets.

    Args:
        long: a million cases or half an hour each, guided by coverage where atheris is installed; else each one's seeds
            and a fixed number of cases, the same each time.
    """
    findings = Path(tempfile.mkdtemp(prefix="earmark-findings-"))

    def run_target(name: str) -> Outcome:
        if long:
            return fuzz(name, LONG_CASES, LONG_SECONDS, findings=findings)
        count = len(corpus_of(TARGETS[name])) + TARGETS[name].short
        return fuzz(name, count, SHORT_SECONDS, plain=True, findings=findings)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(run_target, TARGETS))
    if not any(outcome.findings for outcome in outcomes):
        shutil.rmtree(findings)
    return [_check(outcome, long) for outcome in outcomes]


def _check(outcome: Outcome, long: bool) -> Claim:
    enough = outcome.cases >= LONG_CASES or outcome.seconds >= LONG_SECONDS if long else outcome.cases > 0
    asked = "1,000,000 cases or 30 minutes, " if long else ""
    measured = str(outcome).split(": ", 1)[1] + "".join(f"; {finding}" for finding in outcome.findings)
    return Claim(f"fuzzing: {outcome.name}", asked + "0 findings", measured, enough and not outcome.findings)


def _fast_folder() -> str | None:
    """Memory that looks like a disk, where there is some: cases write files, and flush them."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _read_state(state: Path) -> tuple[int, int]:
    with state.open("rb") as file:
        return STATE.unpack(file.read(STATE.size))


def main() -> None:
    """Fuzz one target; the exit status tells whether anything was found."""
    parser = argparse.ArgumentParser(description="Fuzz one parser.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cases", type=int, default=LONG_CASES, help="how many at most")
    parser.add_argument("--seconds", type=float, default=LONG_SECONDS, help="how long at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--plain", action="store_true", help="without coverage, so that the cases are the same each time"
    )
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir(), "earmark-findings"))
    given = parser.parse_args()
    outcome = fuzz(
        given.target, given.cases, given.seconds, given.seed, plain=given.plain, findings=given.findings.resolve()
    )
    for finding in outcome.findings:
        print(finding)
    print(outcome)
    sys.exit(bool(outcome.findings))


if __name__ == "__main__":
    main()
