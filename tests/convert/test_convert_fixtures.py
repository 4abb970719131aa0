"""Every recorded artifact to each of the three targets, against what its own framework computed.

The conversion itself compares source and result; here the result is compared once more, with the
numbers that were recorded when the artifact was made.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import smconvert as sm
from case import Call, Case, cases, close
from smconvert.converters import Executable
from smconvert.errors import RuntimeFailure
from smconvert.model import Array
from smconvert.runtimes.workers import Workers

TARGETS = {"savedmodel": "out", "graphdef": "out.pb", "onnx": "out.onnx"}

REFUSED = {
    ("counter-add", "graphdef"): "changes a variable while it runs",
    ("counter-add", "onnx"): "changes a variable while it runs",
    ("iris_parsing-classification", "onnx"): "--cut-examples",
    ("iris_parsing-predict", "onnx"): "--cut-examples",
    ("iris_parsing-serving_default", "onnx"): "--cut-examples",
    ("multi_signature-classify", "onnx"): "--cut-examples",
    ("multi_signature-regress", "onnx"): "--cut-examples",
    ("table_vocab", "onnx"): "it hashes the bytes of texts",
}
"""What a target cannot hold, with a piece of what the refusal says."""


def convertible() -> list[Case]:
    """One case for each signature; a SavedModel's own test takes all of them at once."""
    found = []
    for case in cases():
        if not case.signatures:
            continue
        several = len(case.signatures) > 1
        for name in case.signatures:
            found.append(
                replace(
                    case,
                    name=f"{case.name}-{name}" if several else case.name,
                    options=replace(case.options, signatures=(name,)) if several else case.options,
                    signatures={name: case.signatures[name]},
                )
            )
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", convertible(), ids=lambda case: case.name)
def test_result_computes_what_was_recorded(
    case: Case, target: str, tmp_path: Path, workers: Workers
) -> None:
    refusal = REFUSED.get((case.name, target))
    destination = tmp_path / TARGETS[target]
    if refusal:
        with pytest.raises(sm.ConversionError) as refused:
            sm.convert(case.source, destination, source_options=case.options, workers=workers)
        assert refusal in str(refused.value)
        assert list(tmp_path.iterdir()) == []
        return
    conversion = sm.convert(case.source, destination, source_options=case.options, workers=workers)
    assert conversion.exit_code == 0, conversion.parity
    (name,) = case.signatures
    assert_recorded(case, name, conversion.artifact.executables[name], workers)


@pytest.mark.parametrize(
    "case", [c for c in cases() if len(c.signatures) > 1], ids=lambda c: c.name
)
def test_saved_model_keeps_all_signatures(case: Case, tmp_path: Path, workers: Workers) -> None:
    conversion = sm.convert(
        case.source, tmp_path / "out", source_options=case.options, workers=workers
    )
    assert conversion.exit_code == 0, conversion.parity
    assert set(conversion.artifact.executables) >= set(case.signatures)
    source = {s.name: s.method for s in sm.inspect(case.source, case.options).signatures}
    result = {s.name: s.method for s in sm.inspect(tmp_path / "out").signatures}
    assert source == result


def assert_recorded(case: Case, name: str, executable: Executable, workers: Workers) -> None:
    calls = case.signatures[name]
    defaults = {i.name: i.default for i in executable.signature.inputs if i.default is not None}
    if executable.runtime == "ort":
        for call in calls:
            if not is_text(call):
                with pytest.raises(RuntimeFailure, match="ONNX holds text as UTF-8"):
                    workers.run(executable, [call.inputs])
        calls = [call for call in calls if is_text(call)]
    fed: list[dict[str, Array]] = [{**defaults, **call.inputs} for call in calls]
    results = workers.run(executable, fed)
    for call, result in zip(calls, results, strict=True):
        for output, expected in call.outputs.items():
            assert close(result[output], expected), (output, result[output], expected)
            assert isinstance(result[output], np.ndarray)


def is_text(call: Call) -> bool:
    """Whether all strings are UTF-8, as ONNX demands."""
    try:
        for value in call.inputs.values():
            for item in value.ravel().tolist() if value.dtype == object else ():
                item.decode()
    except UnicodeDecodeError:
        return False
    return True
