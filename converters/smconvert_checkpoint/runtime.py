"""The object of a TF2 checkpoint, built by the user's code and called directly."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Self

import numpy as np

from smconvert.converters import Executable
from smconvert.model import Array, DType
from smconvert.runtimes.places import Place
from smconvert.runtimes.tf_places import compiled, settle
from smconvert_checkpoint.factory import functions, restored


class ObjectRuntime:
    """Opens TF2 checkpoints with the factory of their object."""

    def open(self, executable: Executable, place: Place) -> ObjectSession:
        """The object, built and filled afresh."""
        settle(place)
        return ObjectSession(executable, place)


class ObjectSession:
    """A built object."""

    def __init__(self, executable: Executable, place: Place) -> None:
        settings = executable.settings
        if settings["folder"] not in sys.path:
            sys.path.insert(0, settings["folder"])
        self._signature = executable.signature
        self._object = restored(settings["factory"], settings["checkpoint"])
        self._function = compiled(functions(self._object)[executable.signature.name], place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del self._function, self._object

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One call."""
        import tensorflow as tf

        types = {i.name: i.dtype.label for i in self._signature.inputs}
        outputs = self._function(**{n: tf.constant(v, types[n]) for n, v in feeds.items()})
        return {
            o.name: np.asarray(
                outputs[o.name].numpy(), dtype=object if o.dtype is DType.STRING else None
            )
            for o in self._signature.outputs
        }

    def placement(self) -> Mapping[str, int]:
        """Nothing: TensorFlow reports it only in traces."""
        return {}
