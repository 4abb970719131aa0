"""Writes a recorded case: what an artifact is, how to load it, and what TF 1.15 computed.

Runs on CPython 3.7 with ``tensorflow==1.15.5``, ``protobuf<3.21`` and ``numpy<1.19``.
"""

import base64
import json
import math
import os

import numpy as np


def encode(array):
    """The JSON form of an array: flat values, strings as base64, NaN and infinities as words."""
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        flat = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel().tolist()]
        values = [base64.b64encode(v).decode() for v in flat]
        return {"dtype": "string", "shape": list(array.shape), "values": values}
    values = [_number(v) for v in array.ravel().tolist()]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": values}


def decode(tensor):
    """The array of a recorded tensor."""
    if tensor["dtype"] == "string":
        flat = np.empty(len(tensor["values"]), object)
        flat[:] = [base64.b64decode(v) for v in tensor["values"]]
    else:
        flat = np.array([float(v) if isinstance(v, str) else v for v in tensor["values"]])
        flat = flat.astype(tensor["dtype"])
    return flat.reshape(tensor["shape"])


def _number(value):
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def write_case(
    folder, source, format, signatures, load=None, notes="", variant="", made_by="tensorflow 1.15.5"
):
    """Writes ``case.json``; ``signatures`` is name -> list of (inputs, outputs) array dicts."""
    recorded = {
        name: {
            "calls": [
                {
                    "inputs": {k: encode(v) for k, v in sorted(inputs.items())},
                    "outputs": {k: encode(v) for k, v in sorted(outputs.items())},
                }
                for inputs, outputs in calls
            ]
        }
        for name, calls in signatures.items()
    }
    case = {
        "source": source,
        "format": format,
        "made_by": made_by,
        "notes": notes,
        "load": load or {},
        "signatures": recorded,
    }
    name = "case_%s.json" % variant if variant else "case.json"
    with open(os.path.join(folder, name), "w") as stream:
        json.dump(case, stream, indent=None, separators=(",", ":"), sort_keys=True)
        stream.write("\n")
