"""What a progress report is: whatever takes long calls one, and whoever shows it, shows it as it likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Report: TypeAlias = Callable[[str, int, int], object]  # what is being done, how many are done, of how many
