"""The student: a MobileNet (Howard et al. 2017, arXiv:1704.04861) over a log-mel spectrogram.

It has the stages of its teacher, and in the longest of them three blocks instead of five.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from teacher import padded
from torch import Tensor, nn

STEM = 32
# For each stage, its blocks: output channels and stride. A stage ends where the teacher gives a hint.
STAGES = (
    ((64, 1),),
    ((128, 2), (128, 1)),
    ((256, 2), (256, 1)),
    ((512, 2),),
    ((512, 1), (512, 1), (512, 1)),
    ((1_024, 2),),
    ((1_024, 1),),
)
EARLY = 3  # the stem and the first two stages: much work, little to learn
HINTS = (0, 1, 3, 5, 6, 11, 12, 13)  # the teacher's layers at the start of the first stage and the end of each


class Block(nn.Module):
    """A depthwise convolution and a pointwise one: [n, inputs, t, f] → [n, outputs, t / stride, f / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(outputs)

    def forward(self, values: Tensor) -> Tensor:
        values = torch.relu(self.depthwise_norm(self.depthwise(padded(values, self.stride))))
        return torch.relu(self.pointwise_norm(self.pointwise(values)))


class Student(nn.Module):
    """A log-mel spectrogram [n, 1, frames, 64] → what the stem and each stage give, each [n, channels, t, f]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, STEM, 3, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(STEM)
        inputs = (STEM, *(stage[-1][0] for stage in STAGES))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(before, channels, stride)
                    for before, (channels, stride) in zip(_channels(first, stage), stage, strict=False)
                )
            )
            for first, stage in zip(inputs, STAGES, strict=False)
        )

    def start(self, levels: Tensor) -> Tensor:
        return torch.relu(self.stem_norm(self.stem(padded(levels, 2))))

    def forward(self, levels: Tensor) -> list[Tensor]:
        made = [self.start(levels)]
        for stage in self.stages:
            made.append(stage(made[-1]))
        return made

    def led(self, levels: Tensor, hints: list[Tensor], rows: list[int]) -> list[Tensor]:
        """As `forward`, but each stage is given what the teacher gives at that place, of so many rows."""
        stages = zip(self.stages, hints, rows[1:], strict=False)
        return [self.start(levels[: rows[0]]), *(stage(hint[:count]) for stage, hint, count in stages)]

    def late(self) -> list[nn.Module]:
        """The stages that learn to the end."""
        return list(self.stages[EARLY - 1 :])

    def late_values(self, levels: Tensor) -> list[Tensor]:
        """As `forward`, but only what `late` gives, and without gradients of what comes before."""
        with torch.no_grad():
            values = self.start(levels)
            for stage in self.stages[: EARLY - 1]:
                values = stage(values)
        made = []
        for stage in self.late():
            values = stage(values)
            made.append(values)
        return made


def _channels(first: int, stage: tuple[tuple[int, int], ...]) -> list[int]:
    """The input channels of a stage's blocks."""
    return [first, *(channels for (channels, _), _ in pairwise(stage))]
