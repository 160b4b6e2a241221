"""TensorFlow.js models whose layers don't fit together, or would take too much: one sentence, bounded memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from earmark import EarmarkError, Recognizer
from earmark.tfjs.reading import read_tfjs
from tests.tfjs_models import LABELS, graph, peak_of, random_weights, save
from tests.tfjs_node import Json, chain, layer

START = layer("InputLayer", "input", batch_input_shape=[None, 3, 232, 1])
FLAT, LAST = layer("Flatten", "flat"), layer("Dense", "last", units=3, activation="softmax")


def through(name: str, *layers: Json, **links: list[str]) -> Json:
    """A graph of those layers from the input to the scores."""
    return graph(name, {"flat": [layers[-1]["config"]["name"]], "last": ["flat"], **links}, START, *layers, FLAT, LAST)


def ends(model: Json, **config: object) -> Json:
    """The graph with other ends."""
    return {**model, "config": {**model["config"], **config}}


def twice(model: Json, name: str) -> Json:
    """The graph, in which that layer is used once more."""
    for entry in model["config"]["layers"]:
        if entry["name"] == name:
            entry["inbound_nodes"] *= 2
    return model


def doubled(kind: str, times: int) -> Json:
    """Each layer takes what the one before gives twice."""
    names = ["input", *(f"double_{number}" for number in range(times))]
    links = {name: [before, before] for before, name in pairwise(names)}
    return through("doubled", *(layer(kind, name) for name in names[1:]), **links)


def nested(depth: int) -> Json:
    """A chain whose last layer lies so many models deeper."""
    model = LAST
    for number in range(depth):
        model = chain(f"around_{number}", model)
    return chain("model", START, FLAT, model)


NORM = layer("BatchNormalization", "norm")
A, B = layer("Dropout", "a"), layer("Dropout", "b")
ADD = layer("Add", "sum")
GRAPHS: dict[str, tuple[Json, str]] = {
    "circle": (through("m", A, B, ADD, a=["sum"], b=["input"], sum=["a", "b"]), "in a circle at the layer a"),
    "itself": (through("m", A, ADD, a=["input"], sum=["a", "sum"]), "in a circle at the layer sum"),
    "missing": (through("m", A, ADD, a=["input"], sum=["a", "gone"]), "lacks the layer gone"),
    "second input": (
        through("m", layer("InputLayer", "other"), ADD, sum=["input", "other"]),
        "from one input to one output: the layer other is a second input",
    ),
    "two inputs": (ends(through("m", A, a=["input"]), input_layers=[["input", 0, 0]] * 2), "it has 2 inputs"),
    "two outputs": (ends(through("m", A, a=["input"]), output_layers=[["a", 0, 0], ["last", 0, 0]]), "has 2 outputs"),
    "no output": (ends(through("m", A, a=["input"]), output_layers=[]), "it has 0 outputs"),
    "no such output": (ends(through("m", A, a=["input"]), output_layers=[["gone", 0, 0]]), "lacks the layer gone"),
    "shared": (twice(through("m", A, a=["input"]), "a"), "uses the layer a 2 times"),
    "two of one name": (through("m", A, A, a=["input"]), "two layers of one name"),
    "inner model of two": (
        through("m", A, chain("inner", B), a=["input"], inner=["a", "input"]),
        "the inner model inner takes several inputs",
    ),
    "other shapes": (
        through("m", layer("MaxPooling2D", "a"), ADD, a=["input"], sum=["a", "input"]),
        "gives the layer sum values of shapes that don't fit",
    ),
    "other axes": (
        through("m", layer("Flatten", "a"), ADD, a=["input"], sum=["a", "input"]),
        "gives the layer sum values of shapes that don't fit",
    ),
    "concatenated badly": (
        through("m", layer("MaxPooling2D", "a"), layer("Concatenate", "c"), a=["input"], c=["a", "input"]),
        "gives the layer c values of shapes that don't fit",
    ),
    "concatenated nowhere": (through("m", layer("Concatenate", "c", axis=4), c=["input"]), "layer c whose axis can't"),
    "one for two": (through("m", A, B, a=["input"], b=["a", "input"]), "in a way that can't be read"),
    "concatenated 40 times": (doubled("Concatenate", 40), "has no weights last/kernel"),
    "added 999 times": (doubled("Add", 999), "more than 1,000 layers"),
    "many links": (through("m", ADD, sum=["input"] * 20_000), "more than 1,000 layers"),
    "many branches": (
        through(
            "m",
            *(layer("ZeroPadding2D", f"p{number}", padding=500) for number in range(20)),
            ADD,
            **{f"p{number}": ["input"] for number in range(20)},
            sum=[f"p{number}" for number in range(20)],
        ),
        "has no weights last/kernel",
    ),
    "deep": (nested(100), "nests models more than 100 deep"),
    "padded": (chain("m", START, layer("ZeroPadding2D", "p", padding=10**9), FLAT, LAST), "has no weights last/kernel"),
    "padded beyond all": (
        chain("m", START, layer("ZeroPadding2D", "p", padding=[[10**4000, 0], [0, 0]])),
        "in a way that can't be read",
    ),
    "padded by less than none": (chain("m", START, layer("ZeroPadding2D", "p", padding=-1)), "p whose padding can't"),
    "padded by three": (chain("m", START, layer("ZeroPadding2D", "p", padding=[1, 1, 1])), "that can't be read"),
    "reshaped": (chain("m", START, layer("Reshape", "r", target_shape=[7, -1])), "doesn't fit the 696 values"),
    "reshaped to many": (chain("m", START, layer("Reshape", "r", target_shape=[10**9] * 3)), "doesn't fit the 696"),
    "reshaped to open": (chain("m", START, layer("Reshape", "r", target_shape=[-1, -1])), "doesn't fit the 696"),
    "reshaped to nothing": (chain("m", START, layer("Reshape", "r", target_shape=[])), "target_shape can't be"),
    "reshaped to none": (chain("m", START, layer("Reshape", "r", target_shape=[0, 5])), "target_shape can't be"),
    "reshaped to four": (chain("m", START, layer("Reshape", "r", target_shape=[1, 1, 1, 696])), "target_shape can't"),
    "permuted": (chain("m", START, layer("Permute", "p", dims=[1, 2])), "the layer p values of shapes that don't fit"),
    "permuted by windows": (chain("m", START, layer("Permute", "p", dims=[0, 1, 2])), "shapes that don't fit"),
    "kept sides": (chain("m", START, layer("GlobalMaxPooling2D", "g", keepdims=True)), "g whose keepdims can't"),
    "pooled values": (chain("m", START, FLAT, layer("GlobalMaxPooling2D", "g")), "where there are no images any more"),
    "normalized by windows": (
        chain("m", START, layer("BatchNormalization", "b", axis=0)),
        "layer b whose axis can't be converted",
    ),
    "normalized by frames": (
        chain("m", START, layer("LayerNormalization", "n", axis=1)),
        "layer n whose axis can't be converted",
    ),
    "no epsilon": (
        chain("m", START, layer("LayerNormalization", "n", epsilon=0)),
        "layer n whose epsilon can't be converted",
    ),
    "huge epsilon": (chain("m", START, layer("LayerNormalization", "n", epsilon=1e300)), "in a way that can't be read"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_cannot_be_converted(tmp_path: Path, name: str) -> None:
    topology, message = GRAPHS[name]
    folder = save(tmp_path / "model", topology, {})

    def read() -> None:
        with pytest.raises(EarmarkError, match=message) as told:
            read_tfjs(folder)
        assert str(folder) in str(told.value)
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 400 + len(str(folder))

    assert peak_of(read) < 16 << 20


@pytest.mark.parametrize(
    "costly",
    [
        [layer("MaxPooling2D", "p", pool_size=[9_999, 9_999], strides=[1, 1], padding="same")],
        [layer("ZeroPadding2D", "p", padding=10**6)],
        [layer("ZeroPadding2D", "p", padding=10**17)],
    ],
    ids=["pooled", "padded", "padded beyond all"],
)
def test_a_model_that_takes_too_much_is_told_before_it_runs(tmp_path: Path, costly: list[dict[str, object]]) -> None:
    pooled = layer("GlobalMaxPooling2D", "g")
    weights = random_weights({"last/kernel": (1, 3), "last/bias": (3,)})
    folder = save(tmp_path / "model", chain("m", START, *costly, pooled, LAST), weights)

    def load() -> None:
        with pytest.raises(EarmarkError, match="needs too much memory or time for a window") as told:
            Recognizer(read_tfjs(folder), str(folder))
        assert str(told.value).startswith(str(folder))

    assert peak_of(load) < 16 << 20


def test_what_is_long_yet_fine(tmp_path: Path) -> None:
    kernel = {"last/kernel": (696, 3), "last/bias": (3,)}
    for topology in (nested(99), doubled("Add", 990)):
        assert Recognizer(read_tfjs(save(tmp_path, topology, random_weights(kernel)))).labels == tuple(LABELS)


@pytest.mark.parametrize("value", [-0.5, -1e30])
def test_variances_below_zero(tmp_path: Path, value: float) -> None:
    weights = random_weights({f"norm/{name}": (1,) for name in ("gamma", "beta", "moving_mean", "moving_variance")})
    weights["norm/moving_variance"][0] = value
    with pytest.raises(EarmarkError, match="weights norm/moving_variance that are no variances"):
        read_tfjs(save(tmp_path, chain("m", START, NORM, FLAT, LAST), weights))
