"""Keras files run by Keras: loaded in safe mode, and called eagerly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from smconvert.converters import Executable
from smconvert.model import Array, DType
from smconvert.runtimes.places import Place
from smconvert.runtimes.tf_places import compiled, settle
from smconvert_keras import loading


class KerasRuntime:
    """Opens Keras files."""

    def open(self, executable: Executable, place: Place) -> KerasSession:
        """The model, loaded afresh."""
        settle(place)
        return KerasSession(executable, place)


class KerasSession:
    """A loaded Keras model."""

    def __init__(self, executable: Executable, place: Place) -> None:
        objects = tuple(executable.settings["custom_objects"])
        self._signature = executable.signature
        self._model = loading.load_model(executable.path, objects)
        self._call = compiled(self._called, place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del self._call, self._model

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One call, with ``training=False``."""
        import tensorflow as tf

        types = {i.name: i.dtype.label for i in self._signature.inputs}
        fed = [tf.constant(feeds[n], types[n]) for n in loading.input_names(self._model)]
        outputs = self._call(fed)
        names = loading.output_names(self._model, len(outputs))
        kinds = {o.name: o.dtype for o in self._signature.outputs}
        return {
            name: np.asarray(o.numpy(), dtype=object if kinds.get(name) is DType.STRING else None)
            for name, o in zip(names, outputs, strict=True)
        }

    def placement(self) -> Mapping[str, int]:
        """Nothing: TensorFlow reports it only in traces."""
        return {}

    def _called(self, fed: list[Any]) -> list[Any]:
        return loading.call(self._model, fed)
