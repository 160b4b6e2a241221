"""Our two networks as PyTorch has them: what ours must do value by value, and what it is timed beside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from earmark.models.head_on_base import HeadWeights
from earmark.training.heads import DECAY, SCALE
from earmark.training.sound_network import SoundNetwork

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adagrad": (torch.optim.Adagrad, {}),
}


class SoundTwin(nn.Module):
    """The codelab's network as PyTorch's own layers, with a network's weights.

    depthwiseConv2d(depthMultiplier 8, kernelSize [3, 3], relu) → maxPooling2d(poolSize [1, 2], strides [2, 2]) →
    flatten → dense.
    """

    def __init__(self, network: SoundNetwork, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        weights = network.weights()
        self.filter = nn.Conv2d(1, 8, (3, 3)).to(dtype)
        self.pool = nn.MaxPool2d((1, 2), stride=(2, 2))
        self.dense = nn.Linear(920, len(weights.dense_bias)).to(dtype)
        arrays = (weights.kernel, weights.kernel_bias, weights.dense, weights.dense_bias)
        for parameter, array in zip(self.parameters(), arrays, strict=True):
            parameter.data = torch.tensor(array).to(dtype)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(torch.relu(self.filter(windows.unsqueeze(1))))
        return self.dense(pooled.flatten(1))  # type: ignore[no-any-return]

    def flat(self) -> npt.NDArray[np.float64]:
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters()]).numpy()

    def gradient(self, windows: torch.Tensor, targets: torch.Tensor) -> tuple[float, npt.NDArray[np.float64]]:
        self.zero_grad()
        loss = nn.functional.cross_entropy(self(windows), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        return loss.item(), torch.cat([gradient.flatten() for gradient in gradients]).numpy()


class HeadTwin(nn.Module):
    """A head as PyTorch's own layers, with a head's weights."""

    def __init__(self, weights: HeadWeights, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        layers = [*weights.layers, *([weights.tuned] if weights.tuned else [])]
        self.layers = nn.ModuleList(nn.Linear(*dense.kernel.shape[::-1]).to(dtype) for dense in layers)
        for layer, dense in zip(self.layers, layers, strict=True):
            layer.weight.data, layer.bias.data = (
                torch.tensor(dense.kernel).to(dtype),
                torch.tensor(dense.bias).to(dtype),
            )
        self.tuned = self.layers[-1] if weights.tuned else None
        self.own = self.layers[: len(weights.layers)]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.tuned is not None:
            features = torch.relu(self.tuned(features))
        values = nn.functional.normalize(features) * SCALE
        for layer in self.own[:-1]:
            values = torch.relu(layer(values))
        return self.own[-1](values)  # type: ignore[no-any-return]

    def loss(self, features: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """What is reported; `backward` is of this and the penalty."""
        self.zero_grad()
        loss = (weights * nn.functional.cross_entropy(self(features), targets, reduction="none")).mean()
        penalty = torch.stack([layer.weight.square().sum() for layer in self.own]).sum()  # type: ignore[operator]
        (loss + DECAY * penalty).backward()  # type: ignore[no-untyped-call]
        return loss.detach()
