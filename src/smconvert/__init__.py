"""Moves TensorFlow models to SavedModel, frozen graph or ONNX, and proves the result.

import smconvert as sm

conversion = sm.convert("iris_export", "iris.onnx")
model = sm.load("iris_export")
model.signatures["predict"](SepalLength=..., ...)
"""

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
