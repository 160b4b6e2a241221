"""Whether anything is lost and anybody let in, tried in one run.

    python -m reliability [PART...] [--short]

PART is one of those below; all of them take some hours, and with --short, as the tests run them, three minutes. The
table at the end says what was tried and what was found; it ends with 1 if anything doesn't hold.
"""

from __future__ import annotations

import importlib
import sys
import time

from benchmarks.table import Claim, print_claims

PARTS = ("api", "faults", "fuzzing", "soak")


def main() -> None:
    arguments = sys.argv[1:]
    long = "--short" not in arguments
    parts = [argument for argument in arguments if argument != "--short"] or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    found: list[Claim] = []
    for part in parts:
        begun = time.perf_counter()
        found += importlib.import_module(f"reliability.{part}").run(long)
        print(f"{part} took {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    print_claims("Nothing lost, nobody let in", found)
    sys.exit(0 if found and all(claim.holds for claim in found) else 1)


if __name__ == "__main__":
    main()
