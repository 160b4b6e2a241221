"""The layers of a TensorFlow.js model in the order in which they run. Nested models are replaced by their layers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from earmark.errors import EarmarkError
from earmark.tfjs.weights import shown

MAX_LAYERS = 1_000
MAX_LINKS = 10_000  # from layer to layer
MAX_DEPTH = 100  # of models inside models
MODELS = ("Sequential", "Model", "Functional")  # layers that contain layers


@dataclass(frozen=True)
class Layer:
    """A layer as model.json describes it.

    Attributes:
        kind: the layer's class.
        name: the layer's name, with which its weights' names begin.
        config: the layer's options, under Keras's names.
        given: where the layer's inputs come from: 0 is the model's input, n the nth layer's output.
    """

    kind: str
    name: str
    config: dict[str, Any]
    given: tuple[int, ...]

    def pair(self, option: str, default: tuple[int, int] = (1, 1)) -> tuple[int, int]:
        """An option that gives height and width.

        Raises:
            ValueError: the option is something else.
        """
        value = self.config.get(option)
        if value is None:
            return default
        high, wide = value if isinstance(value, list) else (value, value)
        if not all(type(size) is int and 0 < size < 1 << 20 for size in (high, wide)):
            raise ValueError(option)
        return high, wide

    def count(self, option: str, default: int | None = None) -> int:
        """An option that is a whole number from 1.

        Raises:
            ValueError: the option is something else.
        """
        count = self.config.get(option, default)
        if type(count) is not int or not 0 < count < 1 << 24:
            raise ValueError(option)
        return count

    def number(self, option: str, default: float) -> float:
        """An option that is a number within the range of float32.

        Raises:
            ValueError: the option is something else.
        """
        value = self.config.get(option)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
            raise ValueError(option)
        return float(value)


def layers_in_order(topology: Any, source: str) -> list[Layer]:
    """All layers. Each takes the outputs of earlier layers, and the last one gives the model's output.

    Args:
        topology: the `modelTopology` of a model.json.
        source: what to call the model in errors.

    Raises:
        EarmarkError: it is not a layers model, has too many layers, or they don't lead from one input to one output.
        KeyError, TypeError, ValueError, AttributeError, IndexError: the description isn't what Keras would write.
    """
    root = topology.get("model_config", topology)
    if "node" in root:
        raise EarmarkError(f"{source} is a graph model, which has no layers: save it as a layers model.")
    found = _Layers(source)
    if _snake_keys(root)["class_name"] not in MODELS:
        raise ValueError(root)
    if found.add(root, (0,)) != len(found.layers) or not found.layers:
        raise ValueError(root)
    return found.layers


@dataclass
class _Layers:
    """Collects the layers."""

    source: str
    layers: list[Layer] = field(default_factory=list)
    links: int = 0
    depth: int = 0

    def add(self, entry: Any, given: tuple[int, ...]) -> int:
        """Add a layer, or all layers of a model; returns the number of its output."""
        entry = _snake_keys(entry)
        kind, config = entry["class_name"], entry["config"]
        self.links += len(given)
        if len(self.layers) >= MAX_LAYERS or self.links > MAX_LINKS:
            raise EarmarkError(f"{self.source} has more than {MAX_LAYERS:,} layers: use a smaller model.")
        if kind not in MODELS:
            config = _snake_keys(config)
            self.layers.append(Layer(str(kind), str(config["name"]), config, given))
            return len(self.layers)
        if self.depth == MAX_DEPTH:
            raise EarmarkError(f"{self.source} nests models more than {MAX_DEPTH} deep: save it as one model.")
        if len(given) != 1:
            raise self._several(f"the inner model {shown(config['name'])} takes several inputs")
        self.depth += 1
        place = self._add_chain(config, given[0]) if kind == "Sequential" else self._add_graph(config, given[0])
        self.depth -= 1
        return place

    def _add_chain(self, config: Any, given: int) -> int:
        """Add a Sequential's layers; old versions list them without any options."""
        for entry in config["layers"] if isinstance(config, dict) else config:
            given = self.add(entry, (given,))
        return given

    def _add_graph(self, config: Any, given: int) -> int:
        """Add a Model's layers: from one input to one output, through any layers without a cycle."""
        config = _snake_keys(config)
        start, end = self._only(config["input_layers"], "inputs"), self._only(config["output_layers"], "outputs")
        entries = {entry["name"]: _snake_keys(entry) for entry in config["layers"]}
        if len(entries) != len(config["layers"]):
            raise EarmarkError(f"{self.source} has two layers of one name: name its layers differently.")
        links = {name: self._takes(entry) for name, entry in entries.items()}
        links[start] = []
        places: dict[str, int] = {}
        for name in self._sort(links, end):
            takes = tuple(places[link] for link in links[name])
            if not takes and name != start:
                raise self._several(f"the layer {shown(name)} is a second input")
            places[name] = self.add(entries[name], takes or (given,))
        return places[end]

    def _only(self, ends: Any, what: str) -> str:
        """The single layer in `input_layers` or `output_layers`."""
        if len(ends) != 1:
            raise self._several(f"it has {len(ends):,} {what}")
        return str(ends[0][0])

    def _several(self, what: str) -> EarmarkError:
        return EarmarkError(f"{self.source} doesn't lead from one input to one output: {what}; use a model with one.")

    def _takes(self, entry: Mapping[str, Any]) -> list[str]:
        """The names of the layers whose outputs a layer takes. A nested model's own calls aren't listed here."""
        calls = entry["inbound_nodes"]
        if len(calls) > 1:
            message = f"{self.source} uses the layer {shown(entry['name'])} {len(calls):,} times"
            raise EarmarkError(f"{message}: use one layer for each, as only such models can be converted.")
        return [str(name) for call in calls for name, *_ in call]

    def _sort(self, links: Mapping[str, list[str]], end: str) -> list[str]:
        """The layers that the last one needs, each after its inputs; otherwise in the order of the file."""
        needed, waiting = {end}, [end]
        users: dict[str, list[str]] = {}
        while waiting:
            name = waiting.pop()
            if name not in links:
                raise EarmarkError(f"{self.source} lacks the layer {shown(name)}: download the whole model again.")
            for link in dict.fromkeys(links[name]):
                users.setdefault(link, []).append(name)
                if link not in needed:
                    needed.add(link)
                    waiting.append(link)
        listed = [name for name in links if name in needed]
        number = {name: position for position, name in enumerate(listed)}
        missing = {name: len(set(links[name])) for name in listed}
        ready = [number[name] for name in listed if not missing[name]]
        ordered: list[str] = []
        while ready:  # a sorted list is a heap
            ordered.append(listed[heapq.heappop(ready)])
            for user in users.get(ordered[-1], ()):
                missing[user] -= 1
                if not missing[user]:
                    heapq.heappush(ready, number[user])
        if len(ordered) != len(listed):
            stuck = next(name for name in listed if missing[name])
            raise EarmarkError(f"{self.source} goes in a circle at the layer {shown(stuck)}: save the model again.")
        return ordered


def _snake_keys(options: Any) -> dict[str, Any]:
    """Options under Keras's names: TensorFlow.js also accepts `maxValue` for `max_value`."""
    return {snake_case(name): value for name, value in options.items()}


def snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
