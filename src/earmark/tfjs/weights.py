"""A stored array of a TensorFlow.js model, and how errors show what a file holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError


@dataclass
class Weight:
    """One stored array, decoded when a layer asks for it.

    Attributes:
        name: the weight's name, like `layer/kernel`.
        shape: the array's shape.
        stored: the type of the values in the file.
        scale: the scale of a quantised weight, in which q stands for q · scale + minimum; None if it isn't quantised.
        minimum: the minimum of a quantised weight; see scale.
        source: what to call the model in errors.
        content: the bytes.
    """

    name: str
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    scale: float | None
    minimum: float | None
    source: str
    content: bytes | memoryview = b""

    @property
    def size(self) -> int:
        """The stored size in bytes."""
        return math.prod(self.shape) * self.stored.itemsize

    def values(self) -> npt.NDArray[np.float32]:
        """The array.

        Raises:
            EarmarkError: it holds values that are not finite.
        """
        array = np.frombuffer(self.content, self.stored).reshape(self.shape)
        with np.errstate(over="ignore", invalid="ignore"):  # values that aren't finite are reported below
            if self.scale is not None and self.minimum is not None:
                array = array.astype(np.float64) * self.scale + self.minimum
            values = array.astype(np.float32)
        if not np.isfinite(values).all():
            raise EarmarkError(f"{self.source} has weights {shown(self.name)} that are not finite: train it again.")
        return values


def shown(value: object) -> str:
    """A value from a file as an error shows it: short, and on one line."""
    text = value if isinstance(value, str) else type(value).__name__
    return ascii(text[:60])[1:-1]
