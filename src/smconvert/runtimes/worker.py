"""The process that a runtime runs in: ``python -m smconvert.runtimes.worker NAME PLACE IN OUT``.

Requests are lines of JSON on the file descriptor IN, answers on OUT; stdout and stderr are left to
whatever the runtime prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from smconvert.converters import Executable
from smconvert.errors import SmconvertError, Unavailable
from smconvert.graph import tensorflow_parts
from smconvert.model import Array, DType, SignatureInfo, TensorInfo
from smconvert.runtimes import arrays
from smconvert.runtimes.places import Place, place
from smconvert.runtimes.protocol import RUNTIMES, Runtime

_AROUND = (
    "Graph execution error",
    "Detected at node",
    "Node:",
    "Original stack trace",
    "[[",
)
"""How the lines begin with which TensorFlow surrounds what went wrong."""


def to_json(executable: Executable) -> dict[str, Any]:
    """An executable as JSON values."""
    signature = executable.signature
    return {
        "runtime": executable.runtime,
        "path": str(executable.path),
        "name": signature.name,
        "inputs": [_tensor(i) for i in signature.inputs],
        "outputs": [_tensor(o) for o in signature.outputs],
        "settings": dict(executable.settings),
    }


def from_json(data: dict[str, Any]) -> Executable:
    """The executable that :func:`to_json` wrote (defaults are only known to exist)."""
    signature = SignatureInfo(
        data["name"],
        tuple(_info(i) for i in data["inputs"]),
        tuple(_info(o) for o in data["outputs"]),
    )
    return Executable(data["runtime"], Path(data["path"]), signature, data["settings"])


def main(name: str, where: str, requests: int, answers: int) -> None:
    """Serves requests until the pipe closes; then this ends, whatever it is doing."""
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    tensorflow_parts.install()
    with os.fdopen(requests) as incoming, os.fdopen(answers, "w") as outgoing:
        (point,) = entry_points(group=RUNTIMES, name=name)
        runtime: Runtime = point.load()()
        for line in incoming:
            outgoing.write(json.dumps(_answer(runtime, place(where), json.loads(line))) + "\n")
            outgoing.flush()


def _end_with_parent(requests: int) -> None:
    """Ends this process group once the other end of the pipe is gone, with the parent or by it.

    The loop that reads requests would notice only after the run that it is in, which may hang.
    """
    gone = select.poll()
    gone.register(requests, select.POLLHUP)
    while not any(event & select.POLLHUP for _, event in gone.poll()):
        pass
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _answer(runtime: Runtime, where: Place, request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    try:
        results = []
        with runtime.open(from_json(request["executable"]), where) as session:
            for number, call in enumerate(request["calls"]):
                outputs = session.run(arrays.read(call, folder))
                results.append(arrays.write(outputs, folder, f"out-{number}"))
            placement = dict(session.placement())
    except SmconvertError as error:
        told = {"error": error.message, "where": error.where, "hint": error.hint}
        return {**told, "unavailable": isinstance(error, Unavailable)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {_reason(error)}"}
    return {"results": results, "placement": placement}


def _reason(error: Exception) -> str:
    """The sentence of a runtime's error, without the stack and node lists around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(_AROUND)] or lines
    return " ".join(told[:2])[:400]


def _tensor(info: TensorInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "dtype": info.dtype.label,
        "shape": None if info.shape is None else list(info.shape),
        "tensor": info.tensor,
        "optional": info.default is not None,
    }


def _info(data: dict[str, Any]) -> TensorInfo:
    default: Array | None = np.zeros(0) if data["optional"] else None
    shape = None if data["shape"] is None else tuple(data["shape"])
    return TensorInfo(data["name"], DType.from_label(data["dtype"]), shape, data["tensor"], default)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
