"""TensorFlow.js models that are damaged or hostile: one sentence, bounded memory and time."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError, Recognizer
from earmark.tfjs.reading import is_tfjs, read_tfjs
from tests.budget import budget
from tests.tfjs_models import (
    LABELS,
    SMALL_SHAPES,
    change,
    functional_model,
    graph,
    pack,
    peak_of,
    random_weights,
    save,
    save_small,
    small,
)
from tests.tfjs_node import Json, chain, layer


def layers_of(model: Json) -> list[Json]:
    layers: list[Json] = model["modelTopology"]["model_config"]["config"]
    return layers


def config_of(model: Json, number: int) -> Json:
    config: Json = layers_of(model)[number]["config"]
    return config


def group_of(model: Json) -> Json:
    group: Json = model["weightsManifest"][0]
    return group


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: layers_of(m)[1].update(class_name="LSTM"), "'?pool'? of the kind LSTM, which can't be converted"),
        (lambda m: layers_of(m)[1].update(class_name="x" * 10_000), "kind x{60},"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, 3, 128, 1]), "128 frequency bins, not 232"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, None, 232, 1]), "fixed number of frames"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, 10**9, 232, 1]), "windows of 1000000000 frames"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, 224, 224, 3]), "takes no spectrograms"),
        (lambda m: config_of(m, 0).update(activation="gelu"), "activation gelu, which can't be converted"),
        (lambda m: config_of(m, 0).update(padding="causal"), "whose padding can't be converted"),
        (lambda m: config_of(m, 0).update(data_format="channels_first"), "whose data_format can't be converted"),
        (lambda m: config_of(m, 0).update(kernel_size=[5, 3]), r"shape \[3, 3, 1, 2\], not \[5, 3, 1, 2\]"),
        (lambda m: config_of(m, 0).update(kernel_size=[0, 3]), "in a way that can't be read"),
        (lambda m: config_of(m, 0).update(strides=[10**30, 1]), "in a way that can't be read"),
        (lambda m: config_of(m, 0).update(dilation_rate=[1, 2]), "whose dilation_rate can't be converted"),
        (lambda m: layers_of(m).insert(1, layer("ReLU", "six", max_value=-6)), "layer six whose max_value can't"),
        (lambda m: layers_of(m).insert(1, layer("ReLU", "six", max_value="6")), "in a way that can't be read"),
        (lambda m: layers_of(m).insert(1, layer("ReLU", "leaky", negative_slope=0.1)), "whose negative_slope can't"),
        (lambda m: layers_of(m).insert(1, layer("LeakyReLU", "leaky", alpha=math.nan)), "in a way that can't be read"),
        (lambda m: layers_of(m).insert(1, layer("Softmax", "rows", axis=1)), "layer rows whose axis can't"),
        (lambda m: config_of(m, 1).update(pool_size=[2, 2]), "leaves the layer pool no frames"),
        (
            lambda m: config_of(m, 1).update(pool_size=[9_999, 9_999], strides=[1, 1], padding="same"),
            "weights last/kernel",
        ),
        (lambda m: config_of(m, 3).update(units=10**30), "in a way that can't be read"),
        (lambda m: config_of(m, 3).update(activation="relu"), "one score from 0 to 1 for each"),
        (lambda m: config_of(m, 3).pop("units"), "in a way that can't be read"),
        (lambda m: config_of(m, 3).update(name="filter"), "no weights filter/kernel"),
        (lambda m: layers_of(m).pop(2), r"last/kernel of shape \[230, 3\], not \[2, 3\]"),
        (lambda m: layers_of(m).insert(1, layers_of(m).pop(2)), "the layer pool where there are no images any more"),
        (lambda m: layers_of(m).clear(), "in a way that can't be read"),
        (lambda m: layers_of(m).append(layers_of(m)[3]), "twice the same weights last/kernel"),
        (lambda m: layers_of(m).extend(layer("Dropout", "d") for _ in range(1_000)), "more than 1,000 layers"),
        (lambda m: m.update(modelTopology={"node": [], "versions": {}}), "is a graph model"),
        (lambda m: m.update(modelTopology=None), "in a way that can't be read"),
        (lambda m: m.update(modelTopology=functional_model("input", "flat", "last")), "lacks the layer pool"),
        (lambda m: m.update(modelTopology=functional_model("filter", "pool", "flat", "last")), "can't be read"),
        (lambda m: m.update(modelTopology=functional_model("input", "flat", "flat", "last")), "two layers of one name"),
        (lambda m: m.update(weightsManifest=None), "no weights filter/depthwise_kernel"),
        (lambda m: m.update(weightsManifest=[7]), "list of weights that can't be read"),
        (lambda m: group_of(m).update(paths=["../one", "two"]), r"keeps weights elsewhere, at \.\./one"),
        (lambda m: group_of(m).update(paths=["a/../../one", "two"]), "keeps weights elsewhere"),
        (lambda m: group_of(m).update(paths=["/etc/passwd"]), "keeps weights elsewhere, at /etc/passwd"),
        (lambda m: group_of(m).update(paths=["https://example.com/one"]), "elsewhere, at https://example.com/one"),
        (lambda m: group_of(m).update(paths=["C:\\one"]), "keeps weights elsewhere"),
        (lambda m: group_of(m).update(paths=["one\0", "two"]), "damaged or can't be read"),
        (lambda m: group_of(m).update(paths=["three"]), "lacks files of weights"),
        (lambda m: group_of(m).update(paths=["."]), "damaged or can't be read"),
        (lambda m: group_of(m).update(paths=["one"]), "has 10 bytes of weights where its layers have 2,852"),
        (lambda m: group_of(m).update(paths=["one"] * 1_001), "more than 1,000 files"),
        (lambda m: group_of(m)["weights"][2].update(shape=[50_000, 50_000]), "claims more than 16,777,216 weights"),
        (lambda m: group_of(m)["weights"][2].update(shape=[10**18] * 4), "claims more than 16,777,216 weights"),
        (lambda m: group_of(m)["weights"][2].update(shape=[-230, -3]), "last/kernel in no known way"),
        (lambda m: group_of(m)["weights"][2].update(shape=[3, 230]), r"shape \[3, 230\], not \[230, 3\]"),
        (lambda m: group_of(m)["weights"][2].update(dtype="string"), "last/kernel in no known way"),
        (lambda m: group_of(m)["weights"][2].update(name="last/bias"), "two weights of one name"),
        (lambda m: group_of(m)["weights"][2].update(quantization={"dtype": "uint8", "scale": "1"}), "lacks the scale"),
    ],
)
def test_what_cannot_be_converted_is_told_in_one_sentence(
    tmp_path: Path, edit: Callable[[Json], object], message: str
) -> None:
    folder = save_small(tmp_path / "model")
    change(folder, edit)
    with pytest.raises(EarmarkError, match=message) as told:
        read_tfjs(folder)
    assert str(folder) in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400 + len(str(folder))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    weights = random_weights(SMALL_SHAPES)
    weights["last/bias"][1] = value
    with pytest.raises(EarmarkError, match="weights last/bias that are not finite"):
        read_tfjs(save(tmp_path, small(), weights))


def test_truncated_and_longer_shards(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    whole = (folder / "two").read_bytes()
    for content in (whole[:-1], whole + b"\0", b""):
        (folder / "two").write_bytes(content)
        with pytest.raises(EarmarkError, match=f"{10 + len(content):,} bytes of weights where its layers have 2,852"):
            read_tfjs(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"has no metadata\.json"),
        ("{}", r"no labels in its metadata\.json"),
        ('{"wordLabels": ["a", "b"]}', "one score from 0 to 1 for each of its labels"),
        ('{"wordLabels": ["a", "b", 3]}', "no labels"),
        ('{"wordLabels": ["a", "b", "\\ud800"]}', "no labels"),
        ("[" * 100_000, "damaged"),
        ('{"wordLabels": ' + "9" * 5_000 + "}", "damaged|no labels"),  # some Pythons read such a number
        ("\x00", "damaged"),
        (" " * (5 << 20), "more than 4 MiB"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, content: str | None, message: str) -> None:
    folder = save_small(tmp_path)
    (folder / "metadata.json").unlink()
    if content is not None:
        (folder / "metadata.json").write_text(content)
    with pytest.raises(EarmarkError, match=message):
        read_tfjs(folder)


def test_json_too_deep_is_damaged(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    topology: Json = small()["model_config"]
    for _ in range(50):  # so deep that nobody wrote it, yet fine
        topology = {"class_name": "Sequential", "config": [topology]}
    change(folder, lambda model: model.update(modelTopology=topology))
    assert Recognizer(read_tfjs(folder)).labels == tuple(LABELS)
    (folder / "model.json").write_text('{"modelTopology": ' + '{"a": ' * 200_000)
    assert not is_tfjs(folder)
    with pytest.raises(EarmarkError, match="damaged"):
        read_tfjs(folder)


def test_a_claim_of_ten_gigabytes_costs_nothing(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    with (folder / "two").open("r+b") as file:
        file.truncate(10 << 30)  # sparse
    change(folder, lambda model: group_of(model)["weights"][2].update(shape=[2_684_354_560]))

    def read() -> None:
        with pytest.raises(EarmarkError, match="claims more than"):
            read_tfjs(folder)

    assert peak_of(read) < 4 << 20
    save_small(folder)
    with (folder / "two").open("r+b") as file:
        file.truncate(10 << 30)

    def read_file() -> None:
        with pytest.raises(EarmarkError, match="bytes of weights where its layers have"):
            read_tfjs(folder)

    assert peak_of(read_file) < 4 << 20


def test_zip_bombs_and_zips_that_lie(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    (folder / "two").write_bytes(bytes(100 << 20))
    bomb = pack(folder, tmp_path / "bomb.zip")
    assert bomb.stat().st_size < 1 << 20

    def read() -> None:
        with pytest.raises(EarmarkError, match="bytes of weights where its layers have"):
            read_tfjs(bomb)

    assert peak_of(read) < 4 << 20
    # The same, but it says that the entry has the right size: what is more stays packed.
    data = bomb.read_bytes().replace(struct.pack("<I", 100 << 20), struct.pack("<I", 2_842))
    bomb.write_bytes(data)

    def read_liar() -> None:
        with pytest.raises(EarmarkError, match="damaged"):
            read_tfjs(bomb)

    assert peak_of(read_liar) < 8 << 20
    save_small(folder)
    whole = pack(folder, tmp_path / "whole.zip").read_bytes()
    entry = whole.rindex(b"PK\x01\x02")  # the table's last one, of "two", which says where the file begins
    for start in (len(whole) - 5, 0xFFFFFFF0):
        bomb.write_bytes(whole[: entry + 42] + struct.pack("<I", start) + whole[entry + 46 :])
        with pytest.raises(EarmarkError, match="damaged"):
            read_tfjs(bomb)
    with pytest.raises(EarmarkError, match="packed in an unusual way"):
        read_tfjs(pack(folder, tmp_path / "bzip2.zip", compression=zipfile.ZIP_BZIP2))


def test_a_zip_with_a_huge_table_of_contents_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(25_000):
            archive.writestr(f"{number}", b"")
    assert not is_tfjs(file)
    with pytest.raises(EarmarkError, match="damaged"):
        read_tfjs(file)


def test_zips_without_one_model(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    for prefix in ("../", "/", "a/../"):
        outside = pack(folder, tmp_path / "outside.zip", prefix)
        assert not is_tfjs(outside)
        with pytest.raises(EarmarkError, match=r"holds no model\.json"):
            read_tfjs(outside)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for name in ("a/model.json", "b/model.json"):
            archive.write(folder / "model.json", name)
    with pytest.raises(EarmarkError, match=r"more than one model\.json"):
        read_tfjs(tmp_path / "two.zip")


def test_without_onnx_it_says_what_to_install(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    program = (
        "import sys; sys.modules['onnx'] = None\n"
        "from pathlib import Path; from earmark.tfjs.reading import is_tfjs, read_tfjs\n"
        f"path = Path({str(folder)!r}); assert is_tfjs(path)\n"
        "try: read_tfjs(path)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("EarmarkError")
    assert "pip install 'earmark[convert]'" in said


def test_weights_behind_a_link_to_elsewhere_are_not_read(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    (folder / "two").rename(tmp_path / "two")
    (folder / "two").symlink_to("../two")
    with pytest.raises(EarmarkError, match="has a link two to elsewhere: copy what it leads to"):
        read_tfjs(folder)
    (folder / "inner").mkdir()
    (tmp_path / "two").rename(folder / "inner" / "two")
    (folder / "two").unlink()
    (folder / "two").symlink_to("inner/two")
    assert Recognizer(read_tfjs(folder)).labels == tuple(LABELS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_weights_that_are_a_pipe_do_not_wait(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    (folder / "two").unlink()
    os.mkfifo(folder / "two")
    with pytest.raises(EarmarkError, match="damaged or can't be read"):
        read_tfjs(folder)


WORDS = ["same", "Dense", "Add", "Reshape", "Model", "input", "sum", ""]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "layers", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within, with each key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(value, key), *places(inner)]]


@pytest.fixture(scope="module")
def graph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 3 × 232 → 3 scores with branches, an inner model and a layer of nearly every sort."""
    norm = {f"norm/{name}": (2,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    shapes: dict[str, tuple[int, ...]] = {**SMALL_SHAPES, **norm, "inner/kernel": (4, 2), "inner/bias": (2,)}
    weights = {name: abs(array) for name, array in random_weights(shapes).items()}
    depthwise, _, flat, last = small()["model_config"]["config"]
    layers = [
        layer("InputLayer", "input", batch_input_shape=[None, 3, 232, 1]),
        depthwise,
        layer("ZeroPadding2D", "padded", padding=[[0, 0], [0, 2]]),
        layer("AveragePooling2D", "pool", pool_size=[1, 2]),
        layer("ReLU", "limited", max_value=6),
        layer("Permute", "turned", dims=[1, 3, 2]),
        layer("Reshape", "shaped", target_shape=[1, 116, 2]),
        layer("BatchNormalization", "norm", axis=-1, epsilon=0.001),
        layer("Add", "sum"),
        layer("Concatenate", "both", axis=-1),
        chain("model", layer("Dense", "inner", units=2, activation="hardSigmoid")),
        layer("MaxPooling2D", "pool_2", pool_size=[1, 2], strides=[1, 1]),
        flat,
        last,
    ]
    links = {"filter": ["input"], "padded": ["filter"], "pool": ["padded"], "limited": ["pool"], "turned": ["limited"]}
    links |= {"shaped": ["turned"], "norm": ["limited"], "sum": ["norm", "shaped"], "both": ["sum", "limited"]}
    links |= {"model": ["both"], "pool_2": ["model"], "flat": ["pool_2"], "last": ["flat"]}
    folder = save(tmp_path_factory.mktemp("graph"), graph("graph", links, *layers), weights)
    assert Recognizer(read_tfjs(folder)).labels == tuple(LABELS)
    return folder


def read_or_tell(path: Path) -> None:
    """What is read can be run."""
    is_tfjs(path)
    try:
        model = read_tfjs(path)
    except EarmarkError:
        return
    Recognizer(model)


@budget(300)
@given(data=st.data())
def test_a_changed_model_is_read_or_told(graph_folder: Path, data: st.DataObject) -> None:
    model = json.loads((graph_folder / "model.json").read_text())
    container, key = data.draw(st.sampled_from(places(model)))
    container[key] = data.draw(JSON)
    folder = graph_folder.parent / "changed"
    shutil.copytree(graph_folder, folder, dirs_exist_ok=True)
    (folder / "model.json").write_text(json.dumps(model))
    read_or_tell(folder)


@budget(300)
@given(at=st.floats(0, 1, exclude_max=True), wrong=st.binary(max_size=8), cut=st.booleans())
def test_a_damaged_zip_is_read_or_told(graph_folder: Path, at: float, wrong: bytes, cut: bool) -> None:
    file = pack(graph_folder, graph_folder.parent / "damaged.zip")
    content = file.read_bytes()
    start = int(at * len(content))
    file.write_bytes(content[:start] + wrong + (b"" if cut else content[start + len(wrong) :]))
    read_or_tell(file)
