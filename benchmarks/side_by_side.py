"""All that must hold, measured in one run, beside the programs that people use today.

    python -m benchmarks.side_by_side [NAME...]

NAME is a part, of those below; all of them take about half an hour. Each prints its own tables; the last one says what
must hold and what was measured, and what was left out and why. It ends with 1 if anything doesn't hold.
"""

from __future__ import annotations

import importlib
import sys
import time

from benchmarks.table import Claim, print_claims

# The shortest first, and those that put both cores to work last.
PARTS = ("start", "front_end", "tfjs", "training", "wake_words", "server", "scan")


def measure(part: str) -> tuple[list[Claim], str]:
    """What a part found; and why it found nothing, if so."""
    begun = time.perf_counter()
    try:
        claims: list[Claim] = importlib.import_module(f"benchmarks.{part}").rows()
    except Exception as error:  # the other parts are worth having
        return [], f"{type(error).__name__}: {error}"
    print(f"{part} took {time.perf_counter() - begun:.0f} s\n", flush=True)
    return claims, "" if claims else "what it needs is missing here; it says above what"


def main() -> None:
    parts = sys.argv[1:] or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    found: list[Claim] = []
    left_out = {part: "not asked for" for part in PARTS if part not in parts}
    for part in parts:
        claims, reason = measure(part)
        found += claims
        if reason:
            left_out[part] = reason
    print_claims("Side by side, in one run", found)
    for part, reason in left_out.items():
        print(f"left out: {part} ({reason})")
    sys.exit(0 if found and all(claim.holds for claim in found) else 1)


if __name__ == "__main__":
    main()
