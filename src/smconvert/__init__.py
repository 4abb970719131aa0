"""Moves TensorFlow models to SavedModel, frozen graph or ONNX, and proves the result.

import smconvert as sm

conversion = sm.convert("iris_export", "iris.onnx")
model = sm.load("iris_export")
model.signatures["predict"](SepalLength=..., ...)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smconvert.client import Client
    from smconvert.comparison import CompareOptions, Comparison, compare
    from smconvert.converters import (
        Artifact,
        Description,
        Match,
        SourceOptions,
        TargetOptions,
    )
    from smconvert.errors import (
        ConversionError,
        DestinationError,
        ParityError,
        RuntimeFailure,
        SmconvertError,
        SourceError,
        UsageError,
    )
    from smconvert.model import CanonicalModel, Signature, SignatureInfo, TensorInfo
    from smconvert.parity.check import CheckOptions, Parity, Verdict
    from smconvert.pipeline import Conversion, convert, detect, inspect, load, run, save

__all__ = [
    "Artifact",
    "CanonicalModel",
    "CheckOptions",
    "Client",
    "CompareOptions",
    "Comparison",
    "Conversion",
    "ConversionError",
    "Description",
    "DestinationError",
    "Match",
    "Parity",
    "ParityError",
    "RuntimeFailure",
    "Signature",
    "SignatureInfo",
    "SmconvertError",
    "SourceError",
    "SourceOptions",
    "TargetOptions",
    "TensorInfo",
    "UsageError",
    "Verdict",
    "compare",
    "convert",
    "detect",
    "inspect",
    "load",
    "run",
    "save",
]

_MODULES = (
    "errors",
    "model",
    "converters",
    "parity.check",
    "parity.comparison",
    "pipeline",
    "comparison",
    "client",
)


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: the command line starts without NumPy."""
    for module in _MODULES if name in __all__ else ():
        found = getattr(import_module(f"smconvert.{module}"), name, None)
        if getattr(found, "__module__", None) == f"smconvert.{module}":
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
