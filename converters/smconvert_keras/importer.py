"""Keras files in: ``.keras`` and ``.h5``, of Keras 2 and 3, never running code they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smconvert.converters import Description, Executable, Match, SourceOptions
from smconvert.errors import SmconvertError, SourceError
from smconvert.graph.names import keywords
from smconvert.graph.tf_internals import name_arguments
from smconvert.model import (
    DEFAULT_SIGNATURE,
    CanonicalModel,
    DType,
    Provenance,
    Signature,
    SignatureInfo,
    TensorInfo,
)
from smconvert_keras.archive import (
    KerasFile,
    container_of,
    ensure_no_code,
    layer_counts,
    read,
    weights,
)

SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})


class KerasImporter:
    """Reads Keras model files."""

    format = "keras"

    def detect(self, path: Path) -> Match | None:
        """Claims zip and HDF5 files."""
        container = container_of(path)
        if container is not None:
            return Match(self.format, path, f"its first bytes are those of {container}")
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            return Match(self.format, path, f"the suffix {path.suffix}")
        return None

    def describe(self, path: Path, options: SourceOptions) -> Description:
        """Layers, weights, and what would be refused."""
        file = read(path)
        blockers: dict[str, tuple[str, ...]] = {}
        try:
            ensure_no_code(file, options.custom_objects)
        except SmconvertError as error:
            blockers = dict.fromkeys(("savedmodel", "graphdef", "onnx"), (error.message,))
        return Description(
            format=self.format,
            path=path,
            signatures=(_declared(file),),
            variables=weights(file),
            ops=layer_counts(file),
            blockers=blockers,
            notes=(f"Keras {file.keras_version or 'of unknown version'}, {file.container}",),
        )

    def executable(
        self, path: Path, options: SourceOptions, signature: SignatureInfo
    ) -> Executable:
        """Loaded by Keras in safe mode, and called."""
        settings = {"custom_objects": list(options.custom_objects)}
        return Executable("keras", path, signature, settings)

    def load(self, path: Path, options: SourceOptions, *, live: bool = True) -> CanonicalModel:
        """Builds the canonical model: one signature, traced with ``training=False``."""
        import tensorflow as tf

        from smconvert_keras import loading

        model = loading.load_model(path, options.custom_objects)
        names = loading.input_names(model)
        taken = keywords(names)
        specs = {
            taken[name]: tf.TensorSpec(tensor.shape, _dtype(tensor), name=taken[name])
            for name, tensor in zip(names, model.inputs, strict=True)
        }

        @tf.function(autograph=False)
        def serve(**feeds: Any) -> dict[str, Any]:
            outputs = loading.call(model, [feeds[taken[name]] for name in names])
            ends = loading.output_names(model, len(outputs))
            return {end: tf.identity(o) for end, o in zip(ends, outputs, strict=True)}

        function = serve.get_concrete_function(**specs)
        name_arguments(function, sorted(specs))
        module = tf.Module()
        module.model = model
        module.serve = serve
        outputs = function.structured_outputs
        signature = Signature(
            DEFAULT_SIGNATURE,
            tuple(_info(n, specs[taken[n]]) for n in names),
            tuple(_info(n, outputs[n]) for n in loading.output_names(model, len(outputs))),
            function=function,
            keywords=taken,
        )
        version = read(path).keras_version
        return CanonicalModel(
            {signature.name: signature},
            module,
            Provenance(str(path), self.format, producer=f"Keras {version}"),
        )


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _info(name: str, spec: Any) -> TensorInfo:
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorInfo(name, DType.from_label(_dtype(spec)), shape)


def _declared(file: KerasFile) -> SignatureInfo:
    """The inputs and outputs that the config tells, without building the model.

    Raises:
        SourceError: an input has no type.
    """
    inputs: list[TensorInfo] = []
    for layer in _listed(file, "layers"):
        own = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(own, dict):
            continue
        shape = own.get("batch_shape") or own.get("batch_input_shape")
        first = not inputs and shape is not None
        if layer.get("class_name") == "InputLayer" or first:
            inputs.append(_declared_input(file, own, shape))
    outputs = _listed(file, "output_layers")
    names = [str(o[0]) for o in outputs if isinstance(o, list) and o and isinstance(o[0], str)]
    if not names and outputs and isinstance(outputs[0], str):
        names = [str(outputs[0])]
    return SignatureInfo(
        DEFAULT_SIGNATURE,
        tuple(inputs),
        tuple(TensorInfo(name, DType.FLOAT32, None) for name in names),
    )


def _listed(file: KerasFile, key: str) -> list[Any]:
    """A list of the model's config; empty where the config has none."""
    config = file.config.get("config")
    found = config.get(key) if isinstance(config, dict) else None
    return found if isinstance(found, list) else []


def _declared_input(file: KerasFile, own: Any, shape: Any) -> TensorInfo:
    name, dtype = str(own.get("name", "input")), own.get("dtype", "float32")
    dims = shape if isinstance(shape, list) else ()
    try:
        label = DType.from_label(dtype if isinstance(dtype, str) else "float32")
    except ValueError as error:
        raise SourceError(
            f"the input {name!r} has no type: {error}", where=str(file.path)
        ) from error
    return TensorInfo(name, label, tuple(d if isinstance(d, int) else None for d in dims))
