"""Progress reports: long operations call one, and each caller shows it in its own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Report: TypeAlias = Callable[[str, int, int], object]  # what is being done, how many are done, how many there are
