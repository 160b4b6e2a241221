"""Random networks as Keras describes them: chains, branches that meet again, models in models."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.tfjs_models import graph
from tests.tfjs_node import Json, chain, layer

FUSED = ("linear", "relu", "relu6", "elu", "selu", "sigmoid", "hard_sigmoid", "softplus", "softsign", "tanh", "softmax")
FRAMES = 11


def random_network(seed: int) -> Json:
    """A network of random layers from windows of 11 × 232 to 2 to 5 scores; the same seed, the same network."""
    return _Network(Random(seed)).finish()


class _Network:
    """Layers so far, which lead to `last`, whose shape is known."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.layers = [layer("InputLayer", "input", batch_input_shape=[None, FRAMES, 232, 1])]
        self.links: dict[str, list[str]] = {}
        self.last, self.shape = "input", [FRAMES, 232, 1]
        strides = [random.choice([1, 2, 3]), random.choice([9, 16, 30])]
        self._slide("Conv2D", filters=random.randint(1, 4), strides=strides, padding="same")

    def finish(self) -> Json:
        for _ in range(self.random.randint(2, 7)):
            self.random.choice(self._fitting())()
        if len(self.shape) == 3 and self.random.random() < 0.5:
            self._add(self.random.choice(["GlobalAveragePooling2D", "GlobalMaxPooling2D"]), self.shape[2:])
        elif len(self.shape) > 1:
            size = 1
            for one in self.shape:
                size *= one
            self._add("Flatten", [size])
        for _ in range(self.random.randint(0, 2)):
            self.random.choice([self._dense, self._any_shape])()
        self._add("Dense", [0], units=self.random.randint(2, 5), activation=self.random.choice(["softmax", "sigmoid"]))
        first, *middle, last = self.layers
        self.random.shuffle(middle)  # a file may list them in any order
        return graph("model", self.links, first, *middle, last)

    def _fitting(self) -> list[Any]:
        return [self._any_shape, self._dense, *([self._image] * 4 + [self._branch] * 2 if len(self.shape) == 3 else [])]

    def _add(self, kind: str, shape: list[int], takes: list[str] | None = None, **config: Any) -> str:
        name = f"{kind.lower()}_{len(self.layers)}"
        return self._link(layer(kind, name, **config), name, shape, takes)

    def _link(self, made: Json, name: str, shape: list[int], takes: list[str] | None = None) -> str:
        self.layers.append(made)
        self.links[name] = takes or [self.last]
        self.last, self.shape = name, shape
        return name

    def _dense(self) -> None:
        units = self.random.randint(1, 6)
        use_bias = self.random.random() < 0.7
        shape = [*self.shape[:-1], units]
        self._add("Dense", shape, units=units, use_bias=use_bias, activation=self.random.choice(FUSED))

    def _any_shape(self) -> None:
        """A layer for values of any shape."""
        shape, pick = self.shape, self.random.randrange(8)
        flags: Json = {name: self.random.random() < 0.7 for name in ("scale", "center")}
        if pick == 0:
            self._add("BatchNormalization", shape, axis=-1, epsilon=self.random.choice([1e-3, 0.1]), **flags)
        elif pick == 1:
            self._add("LayerNormalization", shape, axis=-1, **flags)
        elif pick == 2:
            dims = self.random.sample(range(1, len(shape) + 1), len(shape))
            self._add("Permute", [shape[axis - 1] for axis in dims], dims=dims)
        elif pick == 3:
            mixed = self.random.sample(shape, len(shape))
            self._add("Reshape", mixed, target_shape=mixed)
        elif pick == 4:
            self._add("Activation", shape, activation=self.random.choice(FUSED))
        elif pick == 5:
            self._add("ReLU", shape, max_value=self.random.choice([None, 0.5, 2]))
        elif pick == 6:
            self._add("LeakyReLU", shape, alpha=self.random.choice([0.1, 0.3]))
        else:
            self._add(self.random.choice(["Dropout", "GaussianDropout"]), shape, rate=0.3)

    def _image(self) -> None:
        high, wide, channels = self.shape
        pick = self.random.randrange(7)
        if pick == 0:
            above, below, left, right = (self.random.randint(0, 2) for _ in range(4))
            shape = [high + above + below, wide + left + right, channels]
            self._add("ZeroPadding2D", shape, padding=[[above, below], [left, right]])
        elif pick in (1, 2):
            self._slide(self.random.choice(["MaxPooling2D", "AveragePooling2D"]))
        elif pick == 3:
            self._slide("DepthwiseConv2D", depth_multiplier=self.random.randint(1, 2))
        elif pick == 4:
            self._slide("SeparableConv2D", filters=self.random.randint(1, 4))
        elif pick == 5:
            self._nested()
        else:
            self._slide("Conv2D", filters=self.random.randint(1, 4))

    def _slide(self, kind: str, **config: Any) -> None:
        """A layer whose kernel slides over the image."""
        size = [self.random.randint(1, min(3, side)) for side in self.shape[:2]]
        strides = [self.random.randint(1, 2) for _ in range(2)]
        config = {"strides": strides, "padding": self.random.choice(["same", "valid"]), **config}
        config["pool_size" if "Pooling" in kind else "kernel_size"] = size
        if "Pooling" not in kind:
            config |= {"activation": self.random.choice(FUSED), "use_bias": self.random.random() < 0.7}
        sides = zip(self.shape[:2], size, config["strides"], strict=True)
        shape = [
            -(-side // step) if config["padding"] == "same" else (side - taps) // step + 1 for side, taps, step in sides
        ]
        channels = config.get("filters", self.shape[2] * config.get("depth_multiplier", 1))
        self._add(kind, [*shape, channels], **config)

    def _branch(self) -> None:
        """Some convolutions of the same image that meet again, with or without the image itself."""
        before, (high, wide, channels) = self.last, self.shape
        meets = self.random.choice(["Add", "Concatenate"])
        ends = [before] if self.random.random() < 0.5 else []
        for _ in range(self.random.randint(2 - len(ends), 3)):
            config: Json = {"kernel_size": self.random.randint(1, 3), "padding": "same"}
            config |= {"dilation_rate": self.random.randint(1, 2), "activation": self.random.choice(FUSED)}
            ends.append(self._add("Conv2D", [high, wide, channels], [before], filters=channels, **config))
        if meets == "Add":
            self._add("Add", [high, wide, channels], ends)
            return
        axis = self.random.choice([-1, 1, 2, 3])
        shape = [high, wide, channels]
        shape[axis - 1 if axis > 0 else -1] *= len(ends)
        self._add("Concatenate", shape, ends, axis=axis)

    def _nested(self) -> None:
        """A Sequential within."""
        name = f"nested_{len(self.layers)}"
        units = self.random.randint(1, 4)
        first = layer("ELU", f"{name}_elu", batch_input_shape=[None, *self.shape])
        inner = chain(name, first, layer("Dense", f"{name}_dense", units=units, activation=self.random.choice(FUSED)))
        self._link(inner, name, [*self.shape[:2], units])
