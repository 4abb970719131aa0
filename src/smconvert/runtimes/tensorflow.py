"""TF2 SavedModels run the TF2 way: loaded, and called by signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from smconvert.converters import Executable
from smconvert.model import Array, DType
from smconvert.runtimes.places import Place
from smconvert.runtimes.tf_places import compiled, settle


class TensorFlowRuntime:
    """Opens signatures of SavedModels with ``tf.saved_model.load``."""

    def open(self, executable: Executable, place: Place) -> TensorFlowSession:
        """The model, loaded afresh."""
        settle(place)
        return TensorFlowSession(executable, place)


class TensorFlowSession:
    """A loaded model's signature."""

    def __init__(self, executable: Executable, place: Place) -> None:
        import tensorflow as tf

        settings = executable.settings
        for library in settings.get("op_libraries", ()):
            tf.load_op_library(library)
        self._signature = executable.signature
        self._names = settings.get("input_names", {})
        # The model must outlive its functions, which hold its variables weakly.
        self._model = tf.saved_model.load(str(executable.path), tags=settings["tags"])
        self._function = compiled(self._model.signatures[settings["signature"]], place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del self._function, self._model

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One call."""
        import tensorflow as tf

        fed = {
            self._names.get(name, name): tf.constant(value, self._signature.input(name).dtype.label)
            for name, value in feeds.items()
        }
        outputs = self._function(**fed)
        return {
            o.name: np.asarray(
                outputs[o.name].numpy(), dtype=object if o.dtype is DType.STRING else None
            )
            for o in self._signature.outputs
        }

    def placement(self) -> Mapping[str, int]:
        """Nothing: TensorFlow reports it only in traces."""
        return {}
