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

_HOMES = {
    "client": ("Client",),
    "comparison": ("CompareOptions", "Comparison", "compare"),
    "converters": ("Artifact", "Description", "Match", "SourceOptions", "TargetOptions"),
    "errors": (
        "ConversionError",
        "DestinationError",
        "ParityError",
        "RuntimeFailure",
        "SmconvertError",
        "SourceError",
        "UsageError",
    ),
    "model": ("CanonicalModel", "Signature", "SignatureInfo", "TensorInfo"),
    "parity.check": ("CheckOptions", "Parity", "Verdict"),
    "pipeline": ("Conversion", "convert", "detect", "inspect", "load", "run", "save"),
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: the command line starts without NumPy."""
    for module, names in _HOMES.items():
        if name in names:
            globals()[name] = getattr(import_module(f"smconvert.{module}"), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
