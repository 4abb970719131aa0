"""What this machine can run, what it cannot, and what to install."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.version import Version

from smconvert import sandbox
from smconvert.errors import RuntimeFailure, Unavailable
from smconvert.runtimes import probes
from smconvert.runtimes.places import Place
from smconvert.runtimes.workers import Workers

OK, PROBLEM, ABSENT = "ok", "problem", "absent"
"""``absent`` is what is not there and need not be: a GPU."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What it is.
        state: ``ok``, ``problem`` or ``absent``.
        detail: What was found.
        hint: What to do about it.
    """

    subject: str
    state: str
    detail: str
    hint: str | None = None


def examine() -> list[Finding]:
    """Looks at Python, packages, the sandbox, the NVIDIA driver, and each runtime at each place."""
    return [*_python(), *_packages(), *_onnxruntimes(), *_sandbox(), *_driver(), *_places()]


def _python() -> Iterator[Finding]:
    yield Finding("Python", OK, f"{platform.python_version()} on {platform.platform()}")


def _packages() -> Iterator[Finding]:
    for text in requires("smconvert") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, PROBLEM, "not installed", f"pip install '{requirement}'")
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding(name, OK, found)
        else:
            yield Finding(
                name,
                PROBLEM,
                f"{found}, which smconvert is not tested with",
                f"pip install '{requirement}'",
            )


def _onnxruntimes() -> Iterator[Finding]:
    """Two distributions of ONNX Runtime overwrite each other's files."""
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(found) > 1:
        yield Finding(
            "onnxruntime",
            PROBLEM,
            "onnxruntime and onnxruntime-gpu are both installed, and share one folder",
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu",
        )


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _sandbox() -> Iterator[Finding]:
    """What untrusted models are held to here."""
    held = sandbox.protections()
    whole = "no network" in held
    yield Finding(
        "sandbox",
        OK if whole else ABSENT,
        "; ".join(held),
        None if whole else "it needs Linux with user namespaces, which containers often forbid",
    )


def _driver() -> Iterator[Finding]:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        yield Finding("NVIDIA driver", ABSENT, "libcuda.so.1 is not there: nothing runs on a GPU")
        return
    number, count = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        yield Finding("NVIDIA driver", ABSENT, "it finds no GPU")
        return
    driver.cuDriverGetVersion(ctypes.byref(number))
    cuda = f"{number.value // 1000}.{number.value % 1000 // 10}"
    yield Finding("NVIDIA driver", OK, f"CUDA {cuda}, {count.value} GPU")
    for name in ("onnxruntime-gpu", "onnxruntime"):
        if _is_installed(name):
            yield from combination(version(name), number.value // 1000)


def combination(onnxruntime: str, driver: int) -> Iterator[Finding]:
    """Whether a build of ONNX Runtime and the major CUDA version of a driver go together."""
    built = 13 if Version(onnxruntime) >= Version("1.27") else 12
    if driver < built:
        yield Finding(
            "onnxruntime",
            PROBLEM,
            f"onnxruntime-gpu {onnxruntime} is built for CUDA {built}, and the driver runs CUDA "
            f"{driver}",
            "pip install 'smconvert[cuda12]', which takes onnxruntime-gpu below 1.27; or a newer "
            "driver",
        )


def _places() -> Iterator[Finding]:
    """Runs a small model at each place, in a process of its own."""
    with probes.folder() as models, Workers() as workers:
        for place in (
            Place("tf"),
            Place("tf", xla=True),
            Place("tf", "cuda"),
            Place("ort"),
            Place("ort", "cuda"),
            Place("ort", "tensorrt"),
        ):
            yield _at(place, models, workers)


def _at(place: Place, models: probes.Probes, workers: Workers) -> Finding:
    try:
        ran = workers.measure(models[place.runtime], [probes.FEEDS], place)
    except Unavailable as error:
        state = ABSENT if place.device != "cpu" else PROBLEM
        return Finding(str(place), state, error.message, error.hint)
    except RuntimeFailure as error:
        return Finding(str(place), PROBLEM, error.message, error.hint)
    counts = ", ".join(f"{count} on {provider}" for provider, count in ran.placement.items())
    return Finding(str(place), OK, f"runs ({counts})" if counts else "runs")
