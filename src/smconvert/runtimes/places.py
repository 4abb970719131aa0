"""Where and how a model runs: a runtime, a device and an arithmetic, as ``ort:cuda:tf32``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smconvert.errors import UsageError

DEVICES = ("cpu", "cuda", "tensorrt")
MODES = ("fp32", "tf32", "fp16", "bf16", "xla")
_ALIASES = {"gpu": "cuda", "trt": "tensorrt"}

TENSORFLOW = "tf"
_FAMILIES = {"tf1-session": TENSORFLOW, "tf-object": TENSORFLOW, "keras": TENSORFLOW}


@dataclass(frozen=True)
class Place:
    """A device of a runtime, and how it calculates there.

    Attributes:
        runtime: ``tf`` for every TensorFlow runtime, ``ort``, or a plug-in's name.
        device: ``cpu``, ``cuda``, or ``tensorrt``.
        precision: ``fp32`` is strict; the others let the runtime round products (``tf32``) or
            whole layers (``fp16``, ``bf16``).
        xla: Compiled by XLA.
    """

    runtime: str
    device: str = "cpu"
    precision: str = "fp32"
    xla: bool = False

    def __str__(self) -> str:
        modes = [m for m in (self.precision, "xla" if self.xla else "fp32") if m != "fp32"]
        return ":".join([self.runtime, self.device, *modes])

    def is_in(self, placement: Mapping[str, int]) -> bool:
        """Whether nodes ran on the device, by the names of execution providers; on a CPU always."""
        return self.device == "cpu" or any(self.device in p.lower() for p in placement)

    def runs(self, runtime: str) -> bool:
        """Whether executables of ``runtime`` belong here."""
        return self.runtime in {runtime, family(runtime)}


def family(runtime: str) -> str:
    """What a place calls a runtime: all of TensorFlow's are ``tf``."""
    return _FAMILIES.get(runtime, runtime)


def place(text: str) -> Place:
    """The place that ``RUNTIME[:DEVICE][:MODE]`` names.

    Raises:
        UsageError: a part of it names nothing.
    """
    runtime, *parts = text.strip().lower().split(":")
    parts = [_ALIASES.get(part, part) for part in parts]
    devices = [p for p in parts if p in DEVICES]
    precisions = [p for p in parts if p in MODES and p != "xla"]
    unknown = [p for p in parts if p not in {*DEVICES, *MODES}]
    if not runtime or unknown or len(devices) > 1 or len(precisions) > 1:
        raise UsageError(
            f"{text!r} names no place to run",
            where="--on",
            hint="RUNTIME:DEVICE:MODE, such as tf:cpu, tf:cpu:xla, ort:cpu, ort:cuda:tf32 or "
            "ort:tensorrt:fp16",
        )
    return Place(runtime, (devices or ["cpu"])[0], (precisions or ["fp32"])[0], xla="xla" in parts)


def places(text: str) -> tuple[Place, ...]:
    """The places of a list with commas; raises UsageError."""
    return tuple(dict.fromkeys(place(item) for item in text.split(",") if item.strip()))
