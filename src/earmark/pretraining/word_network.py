"""The word network: windows → scores and an embedding.

It belongs to the family of TC-ResNet (Choi et al. 2019, arXiv:1904.03814) and MatchboxNet (Majumdar and Ginsburg 2020,
arXiv:2004.08531): the bins become channels, and all convolutions are over time only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from earmark.front_end.spectrogram import BINS
from earmark.models.metadata import LONGEST_WORD_MS, FlooredNormalization, Metadata
from earmark.models.onnx_writer import Convolution, Dense, WordWeights, word_model
from earmark.pretraining.augmentation import FLOOR, FRAMES

STEM = 96
# Input channels, output channels, frames that the kernel spans, stride.
BLOCKS = ((STEM, 128, 9, 2), (128, 160, 9, 1), (160, 192, 9, 1), (192, 192, 9, 1))
EMBEDDING = 192


class Separable(nn.Module):
    """A depthwise convolution over time, a pointwise one, and batch normalization: [n, inputs, t] → [n, outputs, t]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(inputs, inputs, kernel, stride, kernel // 2, groups=inputs, bias=False)
        self.pointwise = nn.Conv1d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(frames)))  # type: ignore[no-any-return]

    def weights(self) -> tuple[Convolution, Convolution]:
        """The weights of the depthwise and of the pointwise convolution."""
        kernel, stride = _array(self.depthwise.weight), self.depthwise.stride[0]
        return Convolution(kernel, None, stride), _folded(self.pointwise, self.norm)


class Block(nn.Module):
    """Two separable convolutions, with a pointwise convolution around them."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.first = Separable(inputs, outputs, kernel, stride)
        self.second = Separable(outputs, outputs, kernel)
        self.around = nn.Conv1d(inputs, outputs, 1, stride, bias=False)
        self.around_norm = nn.BatchNorm1d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        inner = self.second(torch.relu(self.first(frames)))
        return torch.relu(inner + self.around_norm(self.around(frames)))


class WordNetwork(nn.Module):
    """Windows → the labels' logits, and the embedding before them.

    Shape: [n, 43, 232], normalized → [n, labels], [n, 192].
    """

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(BINS, STEM, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm1d(STEM)
        self.blocks = nn.ModuleList(Block(*block) for block in BLOCKS)
        self.embedding = nn.Linear(2 * BLOCKS[-1][1], EMBEDDING)
        self.scores = nn.Linear(EMBEDDING, labels)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.relu(self.stem_norm(self.stem(windows.transpose(1, 2))))
        for block in self.blocks:
            frames = block(frames)
        embedding = torch.relu(self.embedding(torch.cat((frames.mean(2), frames.amax(2)), dim=1)))
        return self.scores(embedding), embedding

    def weights(self) -> WordWeights:
        """The weights as arrays for the ONNX file, with batch normalization folded into the convolution before it."""
        return WordWeights(
            stem=_folded(self.stem, self.stem_norm),
            blocks=[
                (*block.first.weights(), *block.second.weights(), _folded(block.around, block.around_norm))
                for block in self.blocks
                if isinstance(block, Block)
            ],
            embedding=_dense(self.embedding),
            scores=_dense(self.scores),
        )


def word_model_file(network: WordNetwork, name: str, labels: tuple[str, ...]) -> bytes:
    """The trained network as an ONNX file that describes itself."""
    normalization = FlooredNormalization(FLOOR)
    metadata = Metadata(name, labels, FRAMES, normalization, longest_sound_ms=LONGEST_WORD_MS)
    return word_model(network.weights(), metadata)


def _folded(convolution: nn.Conv1d, norm: nn.BatchNorm1d) -> Convolution:
    assert norm.running_var is not None
    assert norm.running_mean is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return Convolution(
        _array(convolution.weight * factor[:, None, None]),
        _array(norm.bias - norm.running_mean * factor),
        convolution.stride[0],
    )


def _dense(layer: nn.Linear) -> Dense:
    return Dense(_array(layer.weight), _array(layer.bias))


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().cpu().numpy()
