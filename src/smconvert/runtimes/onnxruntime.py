"""ONNX files run by ONNX Runtime, with proof of where the nodes ran."""

from __future__ import annotations

import ctypes
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from smconvert.converters import Executable
from smconvert.errors import Unavailable
from smconvert.model import Array
from smconvert.runtimes import ort_values
from smconvert.runtimes.places import Place

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
DRIVER = "libcuda.so.1"


class OnnxRuntime:
    """Opens ``.onnx`` files."""

    def open(self, executable: Executable, place: Place) -> OnnxSession:
        """A session on the device's execution provider.

        Raises:
            Unavailable: there is no such provider, or ONNX Runtime put another in its place.
        """
        _ensure_available(place)
        return OnnxSession(executable, place)


class OnnxSession:
    """A session of ONNX Runtime."""

    def __init__(self, executable: Executable, place: Place) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        self._signature = executable.signature
        self._names = executable.settings.get("output_names", {})
        self._folder = tempfile.TemporaryDirectory(prefix="smconvert-profile-")
        options = onnxruntime.SessionOptions()
        options.use_deterministic_compute = True
        options.enable_profiling = place.device != "cpu"
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        self._profiled = options.enable_profiling
        if executable.settings.get("extensions"):
            options.register_custom_ops_library(_extensions_library())
        self._session = onnxruntime.InferenceSession(
            str(executable.path), options, providers=_providers(place)
        )
        wanted = PROVIDERS[place.device]
        found = self._session.get_providers()
        if wanted not in found:
            raise Unavailable(
                f"ONNX Runtime put {', '.join(found)} in the place of {wanted}",
                where=str(place),
                hint="its CUDA libraries are missing or of another major version: smconvert doctor",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        del self._session
        self._folder.cleanup()

    def placement(self) -> Mapping[str, int]:
        """Nodes by execution provider, from the session's profile; empty on the CPU alone."""
        if not self._profiled:
            return {}
        return nodes_by_provider(Path(self._session.end_profiling()))

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One run."""
        names = [self._names.get(o.name, o.name) for o in self._signature.outputs]
        outputs = ort_values.run(self._session, feeds, names)
        return {o.name: v for o, v in zip(self._signature.outputs, outputs, strict=True)}


def _ensure_available(place: Place) -> None:
    import onnxruntime

    if place.xla:
        raise Unavailable("ONNX Runtime has no XLA", where=str(place))
    rounded = {"cpu": (), "cuda": ("tf32",), "tensorrt": ("tf32", "fp16", "bf16")}[place.device]
    if place.precision not in {"fp32", *rounded}:
        raise Unavailable(
            f"ONNX Runtime has no {place.precision} on {place.device} for models of other types",
            where=str(place),
        )
    if place.device == "cpu":
        return
    built = onnxruntime.get_available_providers()
    if PROVIDERS[place.device] not in built:
        raise Unavailable(
            f"this ONNX Runtime ({onnxruntime.__version__}) is built without "
            f"{PROVIDERS[place.device]}",
            where=str(place),
            hint="pip install 'smconvert[cuda12]' or 'smconvert[cuda13]'",
        )
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        raise Unavailable(
            f"there is no NVIDIA driver here ({DRIVER} is missing)", where=str(place)
        ) from None
    if driver.cuInit(0) != 0:
        raise Unavailable("the NVIDIA driver finds no GPU", where=str(place))
    onnxruntime.preload_dlls()


def _extensions_library() -> str:
    try:
        import onnxruntime_extensions
    except ImportError:
        raise Unavailable(
            "the model needs onnxruntime-extensions, which is not installed",
            hint="pip install 'smconvert[extensions]'",
        ) from None
    return str(onnxruntime_extensions.get_library_path())


def _providers(place: Place) -> list[Any]:
    """Execution providers in order of preference, with the options that the precision needs."""
    tf32 = str(int(place.precision == "tf32"))
    cuda = (PROVIDERS["cuda"], {"use_tf32": tf32, "cudnn_conv_algo_search": "DEFAULT"})
    tensorrt = (
        PROVIDERS["tensorrt"],
        {
            "trt_fp16_enable": str(int(place.precision == "fp16")),
            "trt_bf16_enable": str(int(place.precision == "bf16")),
        },
    )
    chosen = {"cpu": [], "cuda": [cuda], "tensorrt": [tensorrt, cuda]}[place.device]
    return [*chosen, PROVIDERS["cpu"]]


def nodes_by_provider(profile: Path) -> Mapping[str, int]:
    """Counts the nodes of a profile that ONNX Runtime wrote, each once."""
    ran = {
        event["name"]: event["args"]["provider"]
        for event in json.loads(profile.read_text())
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    return dict(sorted(Counter(ran.values()).items()))
