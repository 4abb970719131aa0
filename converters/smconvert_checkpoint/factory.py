"""TF2 object-based checkpoints: the user's code builds the object, the checkpoint fills it.

The only place where a user's code runs, and only the code that ``--model`` names.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from smconvert.converters import Description, Executable, SourceOptions, VariableInfo
from smconvert.errors import ConversionError, SourceError, UsageError
from smconvert.graph.checkpoint import OBJECT_GRAPH, read_index
from smconvert.model import (
    DEFAULT_SIGNATURE,
    CanonicalModel,
    DType,
    Provenance,
    Signature,
    SignatureInfo,
    TensorInfo,
)


def describe(path: Path, prefix: str, options: SourceOptions) -> Description:
    """The variables; the object is not built."""
    index = read_index(prefix)
    return Description(
        "checkpoint",
        path,
        checkpoint=index.kind,
        variables=tuple(
            VariableInfo(name, e.dtype.label, e.shape, e.bytes)
            for name, e in sorted(index.entries.items())
            if name != OBJECT_GRAPH
        ),
        notes=(f"{options.factory} builds the object; it is not called to inspect",),
    )


def executable(
    path: Path, prefix: str, options: SourceOptions, signature: SignatureInfo
) -> Executable:
    """The object, built and filled in the worker, and called."""
    settings = {"factory": options.factory, "checkpoint": prefix, "folder": os.getcwd()}
    return Executable("tf-object", path, signature, settings)


def load(path: Path, prefix: str, options: SourceOptions) -> CanonicalModel:
    """Builds the canonical model from the object's functions.

    Raises:
        UsageError: the factory cannot be imported or called.
        SourceError: the checkpoint does not fit the object.
        ConversionError: the object has no function with known inputs.
    """
    import tensorflow as tf

    built = restored(str(options.factory), prefix)
    module = built if isinstance(built, tf.Module) else tf.Module()
    if module is not built:
        module.built = built
    found = functions(built)
    wanted = {n: f for n, f in found.items() if not options.signatures or n in options.signatures}
    if not wanted:
        raise UsageError(
            "there is no such signature", where="--signature", hint=f"there are {', '.join(found)}"
        )
    return CanonicalModel(
        {name: _signature(name, function) for name, function in wanted.items()},
        module,
        Provenance(str(path), "checkpoint", changes=(f"built by {options.factory}",)),
    )


def restored(factory: str, prefix: str) -> Any:
    """The object that the factory builds, with the checkpoint's values.

    Raises:
        UsageError: the factory cannot be imported or called.
        SourceError: the checkpoint does not fit.
    """
    import tensorflow as tf

    built = _built(factory)
    reader = tf.train.load_checkpoint(prefix)
    children = {key.partition("/")[0] for key in reader.get_variable_to_shape_map()}
    whole = tf.train.Checkpoint(built)
    own = {name for name in vars(built) if not name.startswith("_")} if vars(built) else set()
    children -= {OBJECT_GRAPH, "save_counter"}
    if len(children) == 1 and not children & own and not next(iter(children)).startswith("layer"):
        # Saved as tf.train.Checkpoint(model=...): the object is a child of the root.
        whole = tf.train.Checkpoint(**{next(iter(children)): built})
    try:
        status = whole.read(prefix)
        status.assert_existing_objects_matched()
        status.expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise SourceError(
            f"the checkpoint does not fit the object: {str(error).splitlines()[0][:300]}",
            where=prefix,
            hint=f"{factory} must build what was saved, with its variables created",
        ) from error
    return built


def functions(built: Any) -> dict[str, Any]:
    """The concrete functions of an object, by signature name.

    Raises:
        ConversionError: none has known inputs.
    """
    import tensorflow as tf

    found: dict[str, Any] = {}
    for name in sorted({*vars(type(built)), *vars(built)}):
        function = getattr(built, name, None)
        spec = getattr(function, "input_signature", None)
        if isinstance(function, tf.types.experimental.PolymorphicFunction) and spec is not None:
            found[DEFAULT_SIGNATURE if name == "__call__" else name] = function
    if not found:
        raise ConversionError(
            "the object has no tf.function with an input_signature, so nobody knows its inputs",
            hint="decorate what is to be served: @tf.function(input_signature=[...])",
        )
    if len(found) == 1:
        found = {DEFAULT_SIGNATURE: next(iter(found.values()))}
    return {name: _concrete(function) for name, function in found.items()}


def _concrete(function: Any) -> Any:
    """One call by keywords that returns a dict, as a SavedModel's signatures do."""
    import tensorflow as tf

    specs = tf.nest.flatten(function.input_signature)
    names = [s.name or f"input_{i}" for i, s in enumerate(specs)]

    @tf.function(autograph=False)
    def serve(**feeds: Any) -> dict[str, Any]:
        result = function(*[feeds[n] for n in names])
        if isinstance(result, dict):
            return {str(k): tf.identity(v) for k, v in result.items()}
        flat = tf.nest.flatten(result)
        return {f"output_{i}": tf.identity(v) for i, v in enumerate(flat)}

    keyed = {n: tf.TensorSpec(s.shape, s.dtype, name=n) for n, s in zip(names, specs, strict=True)}
    from smconvert.graph.tf_internals import name_arguments

    return name_arguments(serve.get_concrete_function(**keyed), sorted(keyed))


def _signature(name: str, function: Any) -> Signature:
    feeds = function.structured_input_signature[1]
    fetches = function.structured_outputs
    return Signature(
        name,
        tuple(_info(n, spec) for n, spec in sorted(feeds.items())),
        tuple(_info(n, spec) for n, spec in sorted(fetches.items())),
        function=function,
    )


def _info(name: str, spec: Any) -> TensorInfo:
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorInfo(name, DType.from_label(spec.dtype.name), shape)


def _built(factory: str) -> Any:
    module, colon, attribute = factory.partition(":")
    if not (module and colon and attribute):
        raise UsageError(f"{factory!r} is not package.module:factory", where="--model")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise UsageError(
            f"{factory} cannot be called: {type(error).__name__}: {str(error)[:200]}",
            where="--model",
            hint="its folder must be the current one or on the Python path",
        ) from error
