"""TensorFlow set up for a place, once in a process: it keeps these settings global."""

from __future__ import annotations

from typing import Any

from smconvert.errors import Unavailable
from smconvert.runtimes.places import Place


def settle(place: Place) -> None:
    """Makes TensorFlow run as ``place`` says.

    Raises:
        Unavailable: it cannot run there.
    """
    import tensorflow as tf

    if place.device == "tensorrt":
        raise Unavailable("TensorFlow 2.18 and later have no TensorRT", where=str(place))
    if place.precision not in {"fp32", "tf32"}:
        raise Unavailable(
            f"TensorFlow runs a saved model in the types that it was saved with, not in "
            f"{place.precision}",
            where=str(place),
        )
    if place.device == "cuda" and not tf.config.list_physical_devices("GPU"):
        raise Unavailable(_why_no_gpu(tf), where=str(place), hint="smconvert doctor says more")
    if place.precision == "tf32" and place.device == "cpu":
        raise Unavailable("TF32 is an arithmetic of NVIDIA GPUs", where=str(place))
    tf.config.experimental.enable_tensor_float_32_execution(place.precision == "tf32")
    if place.device == "cuda":
        tf.random.set_seed(0)
        tf.config.experimental.enable_op_determinism()


def _why_no_gpu(tf: Any) -> str:
    if not tf.test.is_built_with_cuda():
        return "this TensorFlow is built without CUDA"
    built = tf.sysconfig.get_build_info().get("cuda_version", "?")
    return (
        f"TensorFlow sees no GPU: it needs an NVIDIA driver and the libraries of CUDA {built} "
        "(pip install tensorflow[and-cuda])"
    )


def compiled(function: Any, place: Place) -> Any:
    """The function, compiled by XLA where the place says so.

    A graph that XLA cannot compile fails when it is called.
    """
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False) if place.xla else function
