"""Keras files run by Keras: loaded in safe mode, and called eagerly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from smconvert.converters import Executable
from smconvert.model import Array, DType
from smconvert_keras import loading


class KerasRuntime:
    """Opens Keras files."""

    def open(self, executable: Executable, device: str) -> KerasSession:
        """The model, loaded afresh."""
        return KerasSession(executable)


class KerasSession:
    """A loaded Keras model."""

    def __init__(self, executable: Executable) -> None:
        objects = tuple(executable.settings["custom_objects"])
        self._signature = executable.signature
        self._model = loading.load_model(executable.path, objects)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del self._model

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One call, with ``training=False``."""
        import tensorflow as tf

        types = {i.name: i.dtype.label for i in self._signature.inputs}
        fed = [tf.constant(feeds[n], types[n]) for n in loading.input_names(self._model)]
        outputs = loading.call(self._model, fed)
        names = loading.output_names(self._model, len(outputs))
        kinds = {o.name: o.dtype for o in self._signature.outputs}
        return {
            name: np.asarray(o.numpy(), dtype=object if kinds.get(name) is DType.STRING else None)
            for name, o in zip(names, outputs, strict=True)
        }
