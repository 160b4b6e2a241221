"""Earmark whose Python never looks for circles: on SIGUSR1 it prints how many resamplers of live sound are held."""

from __future__ import annotations

import gc
import signal

from earmark.audio.clip import Resampler
from earmark.cli.main import main

if __name__ == "__main__":
    gc.disable()
    signal.signal(
        signal.SIGUSR1, lambda *_: print(sum(isinstance(one, Resampler) for one in gc.get_objects()), flush=True)
    )
    main()
