"""A server to be watched: `earmark` itself, which also tells how many asyncio tasks it has when it gets SIGUSR1.

python -m reliability.soak_server TOLD_TO studio PROJECT --no-browser ...
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path


def main() -> None:
    told_to = Path(sys.argv.pop(1))

    def tell(*_: object) -> None:
        with told_to.open("a") as file:
            file.write(f"{len(asyncio.all_tasks())}\n")

    signal.signal(signal.SIGUSR1, tell)
    from earmark.cli.main import main as earmark

    earmark()


if __name__ == "__main__":
    main()
