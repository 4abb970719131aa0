"""Loads a Keras file safely, by the Keras that wrote it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smconvert.errors import ConversionError, SourceError, UsageError
from smconvert_keras.archive import ensure_no_code, read


def load_model(path: Path, custom_objects: tuple[str, ...]) -> Any:
    """The model, in inference form, without its optimizer.

    Raises:
        SourceError: the file is damaged.
        ConversionError: it holds code that nobody vouched for, or needs Keras 2 and it is missing.
        UsageError: a custom object cannot be imported.
    """
    file = read(path)
    ensure_no_code(file, custom_objects)
    objects = {name.rpartition(":")[2]: import_object(name) for name in custom_objects}
    keras = _keras2() if file.is_keras2 else importlib.import_module("keras")
    if not file.is_keras2 and keras.backend.backend() != "tensorflow":
        raise ConversionError(
            f"Keras runs on {keras.backend.backend()}, and only TensorFlow can be converted",
            hint="set the environment variable KERAS_BACKEND=tensorflow",
        )
    try:
        return keras.models.load_model(
            path, custom_objects=objects or None, compile=False, safe_mode=True
        )
    except (ValueError, TypeError, KeyError, OSError, AttributeError, ImportError) as error:
        line = next((text for text in str(error).splitlines() if text.strip()), "")[:300]
        if "nknown layer" in str(error) or "Could not locate" in str(error):
            raise ConversionError(
                f"Keras does not know a class of the model: {line}",
                where=str(path),
                hint="if you trust its code: --custom-objects package.module:NAME",
            ) from error
        raise SourceError(f"Keras cannot load the file: {line}", where=str(path)) from error


def import_object(name: str) -> Any:
    """The object named ``package.module:NAME``; its module's code runs.

    Raises:
        UsageError: there is no such thing.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UsageError(f"{name!r} is not package.module:NAME")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{name!r} cannot be imported: {error}",
            hint="its folder must be on the Python path: PYTHONPATH=FOLDER",
        ) from error


def input_names(model: Any) -> list[str]:
    """The names of a model's inputs, as its user knows them.

    Raises:
        ConversionError: the model was never built, so nobody knows its inputs.
    """
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise ConversionError(
            "the model has no fixed inputs",
            hint="call it once before saving, or export it as a SavedModel: model.export(...)",
        )
    return _unique([getattr(t, "name", "input").partition(":")[0] for t in tensors])


def output_names(model: Any, count: int) -> list[str]:
    """The names of a model's outputs: those of its output layers."""
    known = list(getattr(model, "output_names", None) or [])
    if not known and count == 1 and getattr(model, "layers", None):
        known = [model.layers[-1].name]
    if len(known) != count:
        known = [f"output_{i}" for i in range(count)]
    return _unique([str(n) for n in known])


def call(model: Any, feeds: Sequence[Any]) -> list[Any]:
    """Calls the model on its inputs in order, and returns its outputs in order."""
    import tensorflow as tf

    structure = getattr(model, "_inputs_struct", None)
    packed = tf.nest.pack_sequence_as(structure, list(feeds)) if structure is not None else None
    if packed is None:
        packed = feeds[0] if len(feeds) == 1 else list(feeds)
    return list(tf.nest.flatten(model(packed, training=False)))


def _unique(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in found:
            candidate, number = f"{name}_{number}", number + 1
        found.append(candidate)
    return found


def _keras2() -> Any:
    try:
        return importlib.import_module("tf_keras")
    except ImportError as error:
        raise ConversionError(
            "Keras 2 wrote the file, and its loader is not installed",
            hint="pip install 'smconvert[keras2]'",
        ) from error
