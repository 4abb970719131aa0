"""The canonical model: what every importer ends with and every exporter starts from.

Nothing here knows a file format, and nothing here imports TensorFlow at run time.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from smconvert.errors import UnknownType

if TYPE_CHECKING:
    import tensorflow as tf

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""A tensor's value. Strings are object arrays that hold ``bytes``."""

Shape: TypeAlias = tuple[int | str | None, ...]
"""Dimensions: a size, the name of a dynamic dimension, or None for an unnamed one."""

DEFAULT_SIGNATURE = "serving_default"


class DType(enum.Enum):
    """Element types, by the names and numbers of tensorflow/core/framework/types.proto."""

    FLOAT32 = "float32", 1
    FLOAT64 = "float64", 2
    INT32 = "int32", 3
    UINT8 = "uint8", 4
    INT16 = "int16", 5
    INT8 = "int8", 6
    STRING = "string", 7
    COMPLEX64 = "complex64", 8
    INT64 = "int64", 9
    BOOL = "bool", 10
    QINT8 = "qint8", 11
    QUINT8 = "quint8", 12
    QINT32 = "qint32", 13
    BFLOAT16 = "bfloat16", 14
    QINT16 = "qint16", 15
    QUINT16 = "quint16", 16
    UINT16 = "uint16", 17
    COMPLEX128 = "complex128", 18
    FLOAT16 = "float16", 19
    RESOURCE = "resource", 20
    VARIANT = "variant", 21
    UINT32 = "uint32", 22
    UINT64 = "uint64", 23
    FLOAT8_E5M2 = "float8_e5m2", 24
    FLOAT8_E4M3FN = "float8_e4m3fn", 25
    INT4 = "int4", 29
    UINT4 = "uint4", 30

    @property
    def label(self) -> str:
        """The name TensorFlow's Python API uses, such as ``float32``."""
        return self.value[0]

    @property
    def number(self) -> int:
        """The number in protobufs, such as 1 for ``DT_FLOAT``."""
        return self.value[1]

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of a value (object for strings).

        Raises:
            UnknownType: for resources, variants and quantised types, which have no NumPy value.
        """
        if self is DType.STRING:
            return np.dtype(object)
        if self.label in _ML_DTYPES:
            import ml_dtypes

            return np.dtype(getattr(ml_dtypes, self.label))
        try:
            return np.dtype(self.label)
        except TypeError as error:
            raise UnknownType(f"{self.label} has no NumPy value") from error

    @classmethod
    def from_number(cls, number: int) -> DType:
        """The type of a protobuf number; reference types (100 and above) count as their base."""
        plain = number - 100 if number > 100 else number
        for dtype in cls:
            if dtype.number == plain:
                return dtype
        raise UnknownType(f"{number} is not the number of a known dtype")

    @classmethod
    def from_label(cls, label: str) -> DType:
        """The type named ``label`` (``str``, ``bytes_`` and ``object`` mean string)."""
        if label in {"object", "str", "bytes"}:
            return cls.STRING
        for dtype in cls:
            if dtype.label == label:
                return dtype
        raise UnknownType(f"{label!r} is not the name of a known dtype")

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> DType:
        """The type of a NumPy dtype (object, ``S`` and ``U`` are strings)."""
        return cls.STRING if dtype.kind in "OSU" else cls.from_label(dtype.name)


_ML_DTYPES = frozenset({"bfloat16", "float8_e5m2", "float8_e4m3fn", "int4", "uint4"})


class Method(enum.Enum):
    """What TensorFlow Serving may call a signature for, with the name in the SignatureDef."""

    PREDICT = "tensorflow/serving/predict"
    CLASSIFY = "tensorflow/serving/classify"
    REGRESS = "tensorflow/serving/regress"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Attributes:
        name: What the user calls it.
        dtype: Its element type.
        shape: Its dimensions; None where the rank is unknown.
        tensor: Its name in the source graph (``softmax:0``), where there is one graph to name.
        default: The value used when an input is not fed; None means that it must be fed.
        sparse: For the three parts of a sparse input, the shape of the whole as declared.
    """

    name: str
    dtype: DType
    shape: Shape | None
    tensor: str | None = None
    default: Array | None = field(default=None, compare=False)
    sparse: Shape | None = None

    def __str__(self) -> str:
        dims = (
            "unknown rank" if self.shape is None else ", ".join(str(d or "?") for d in self.shape)
        )
        return f"{self.name}: {self.dtype.label}[{dims}]"


@dataclass(frozen=True)
class SignatureInfo:
    """A signature as data: names, types and order, without the function."""

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    method: str = Method.PREDICT.value

    def input(self, name: str) -> TensorInfo:
        """The input called ``name``; raises KeyError."""
        return next(_named(self.inputs, name))

    def output(self, name: str) -> TensorInfo:
        """The output called ``name``; raises KeyError."""
        return next(_named(self.outputs, name))


def _named(infos: tuple[TensorInfo, ...], name: str) -> Any:
    found = [info for info in infos if info.name == name]
    if not found:
        raise KeyError(name)
    return iter(found)


@dataclass(frozen=True)
class Signature(SignatureInfo):
    """A signature and the one concrete function that computes it.

    Attributes:
        function: Takes its inputs by keyword and returns a dict keyed by output name. Its graph
            captures the model's variables and tables.
        keywords: Input name to keyword, for names that TensorFlow does not take as a keyword.
    """

    function: Any = field(kw_only=True, compare=False, repr=False)
    keywords: Mapping[str, str] = field(default_factory=dict, kw_only=True, compare=False)

    def keyword(self, name: str) -> str:
        """What ``function`` calls the input ``name``."""
        return self.keywords.get(name, name)

    def __call__(self, **feeds: Any) -> dict[str, tf.Tensor]:
        """Computes the outputs from arrays or tensors; inputs with a default may be left out."""
        for info in self.inputs:
            if info.name not in feeds and info.default is not None:
                feeds[info.name] = info.default
        import tensorflow as tf

        types = {info.name: info.dtype.label for info in self.inputs}
        return self.function(
            **{self.keyword(n): tf.convert_to_tensor(v, types.get(n)) for n, v in feeds.items()}
        )


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, and what was changed on the way, with the reason.

    Attributes:
        source: The path as the user gave it.
        format: The source format's name.
        sha256: Digest over the source's files (name, size and content, in sorted order).
        tags: The tag set, where the format has them.
        producer: The TensorFlow version that wrote the source, if it says.
        changes: One sentence for each thing that the import changed.
    """

    source: str
    format: str
    sha256: str = ""
    tags: tuple[str, ...] = ()
    producer: str | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CanonicalModel:
    """Named signatures over shared state.

    Attributes:
        signatures: By name, in the source's order.
        module: Owns variables, tables and assets: whatever must stay alive and be saved.
        provenance: Where the model comes from.
    """

    signatures: Mapping[str, Signature]
    module: tf.Module
    provenance: Provenance
