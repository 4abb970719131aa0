"""What runs in the sandbox, in a folder of its own: one conversion, or one look at a model.

    python -m smconvert.service.inside REQUEST

or :func:`main_of_fork` in a fork of a process that has imported what it needs.

Everything that reads what a stranger sent happens here: unpacking, reading, converting, checking,
packing. Steps go to stdout, a JSON value a line. The last thing written is ``outcome.json``, by a
rename: if it is there, the work was done to its end.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smconvert import archives
from smconvert.converters import SourceOptions, TargetOptions, exporters
from smconvert.errors import ParityError, SmconvertError, SourceError, UsageError
from smconvert.runtimes.forked import Blanks
from smconvert.runtimes.workers import Workers

OUTCOME = "outcome.json"
REPORT = "report.html"
REPORT_JSON = "report.json"
_SOURCE, _RESULT = "source", "result"


IMPORTS = ("smconvert.batch.imports", "smconvert.service.inside")
"""What a process has imported whose forks convert."""

LIGHT_IMPORTS = ("smconvert.service.inside", "smconvert.pipeline")
"""Of one whose forks only look at models: TensorFlow is not among it."""


def main(request: Path) -> None:
    """Does what a request says, and writes what came of it."""
    with Workers() as workers:
        _do(request, workers)


def main_of_fork(request: str) -> int:
    """The same in a fork of a process that has imported, and run nothing."""
    # One runs the source, the other the result.
    with Blanks(2) as blanks, Workers(blanks.start) as workers:
        _do(Path(request), workers)
    return 0


def look_of_fork(request: str) -> int:
    """The same for what runs no model."""
    main(Path(request))
    return 0


def _do(request: Path, workers: Workers) -> None:
    asked = json.loads(request.read_text())
    try:
        outcome = _inspect(asked) if asked["work"] == "inspect" else _convert(asked, workers)
    except ParityError as error:
        outcome = {**_failed(error), "report": _report(asked, error.parity)}
    except SmconvertError as error:
        outcome = _failed(error)
    except Exception as error:
        traceback.print_exc()
        outcome = _failed(
            SmconvertError(
                f"something went wrong inside smconvert: {type(error).__name__}",
                hint="the job's log has the traceback; report it",
            )
        )
    _write(Path(OUTCOME), _without_folders(outcome, asked))


def _convert(asked: Mapping[str, Any], workers: Workers) -> dict[str, Any]:
    """Converts, and packs what was written into the one file to download."""
    _step("unpacking")
    source = _artifact(asked)
    _step("starting TensorFlow")
    from smconvert import pipeline
    from smconvert.cli.report import conversion_json
    from smconvert.parity.check import CheckOptions

    check = asked["check_options"]
    destination = Path(_RESULT) / asked["name"]
    destination.parent.mkdir()
    conversion = pipeline.convert(
        source,
        destination,
        source_options=_source_options(asked),
        target_options=TargetOptions(**_given(asked["target_options"])),
        check_options=CheckOptions(
            check["rtol"], check["atol"], check["seed"], _path(asked["data"])
        ),
        checked=check["checked"],
        source_format=asked["source_options"]["format"],
        target_format=asked["target"],
        workers=workers,
        progress=_step,
    )
    _step("packing the result")
    document = json.loads(conversion_json(conversion))
    return {
        "exit_code": conversion.exit_code,
        "conversion": document,
        "result": _pack(Path(_RESULT), destination),
        "report": _report(asked, document["parity"], document),
    }


def _inspect(asked: Mapping[str, Any]) -> dict[str, Any]:
    from smconvert import pipeline
    from smconvert.cli.report import description_json

    description = pipeline.inspect(
        _artifact(asked),
        _source_options(asked),
        source_format=asked["source_options"]["format"],
    )
    return {"exit_code": 0, "description": json.loads(description_json(description))}


def result_name(upload: str, target: str) -> str:
    """What a result is called when nobody says: as the upload, with the suffix of its format."""
    stem = upload
    for suffix in (".zip", ".tgz", ".gz", ".tar", ".pb", ".pbtxt", ".meta", ".keras", ".h5"):
        stem = stem.removesuffix(suffix)
    suffix = next(iter(exporters()[target].suffixes), "")
    return (stem or "model") + suffix


def _artifact(asked: Mapping[str, Any]) -> Path:
    """The artifact to read: the upload, or what is in it."""
    upload = Path(asked["upload"])
    inside = asked["source_options"]["path"]
    if not archives.is_archive(upload):
        if inside is not None:
            raise UsageError(
                "the upload is one file, and not an archive",
                where="source_options.path",
                hint="leave the path out",
            )
        # A result says where it comes from: by the file's name, not by the server's folders.
        Path(_SOURCE).mkdir()
        given = Path(_SOURCE) / upload.name
        given.symlink_to(upload)
        return given
    root = archives.unpack(upload, Path(_SOURCE))
    return root if inside is None else _below(root, inside, "source_options.path")


def _below(root: Path, inside: str, where: str) -> Path:
    """A path in an archive, by what it is called there or below the one folder that it holds."""
    for base in (Path(_SOURCE), root):
        path = base / inside
        if not path.resolve().is_relative_to(Path(_SOURCE).resolve()):
            break
        # A checkpoint is named by a prefix, which is no file.
        if path.exists() or any(path.parent.glob(f"{_literally(path.name)}.*")):
            return path
    raise SourceError(f"{inside!r} is not in the archive", where=where)


def _literally(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _source_options(asked: Mapping[str, Any]) -> SourceOptions:
    given = asked["source_options"]
    checkpoint = given["checkpoint"]
    if checkpoint is not None:
        if not archives.is_archive(Path(asked["upload"])):
            raise UsageError(
                "a checkpoint is given, and the upload is no archive that holds it",
                where="source_options.checkpoint",
                hint="upload the graph and its checkpoint in one .zip or .tar.gz",
            )
        checkpoint = str(_below(Path(_SOURCE), checkpoint, "source_options.checkpoint"))
    return SourceOptions(
        tags=None if given["tags"] is None else frozenset(given["tags"]),
        signatures=tuple(given["signatures"]),
        inputs=given["inputs"],
        outputs=given["outputs"],
        fixed_inputs=given["fixed_inputs"],
        checkpoint=checkpoint,
        variable_map=given["variable_map"],
        cut_examples=given["cut_examples"],
    )


def _pack(folder: Path, artifact: Path) -> dict[str, Any]:
    """What is downloaded: the one file of a result as it is, several in a zip."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if files == [artifact]:
        return _described(artifact, artifact.name)
    packed = folder / f"{artifact.name}.zip"
    # Weights hardly shrink, and a fixed time keeps the same model's zip the same.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path in files:
            entry = zipfile.ZipInfo(str(path.relative_to(folder)))
            entry.external_attr = 0o644 << 16
            with path.open("rb") as file, archive.open(entry, "w", force_zip64=True) as packing:
                while block := file.read(1 << 20):
                    packing.write(block)
    return _described(packed, artifact.name)


def _described(path: Path, artifact: str) -> dict[str, Any]:
    return {"name": path.name, "size": path.stat().st_size, "artifact": artifact}


def _report(
    asked: Mapping[str, Any],
    parity: Mapping[str, Any] | None,
    conversion: Mapping[str, Any] | None = None,
) -> bool:
    """Writes the check as a page and as JSON, if there was one."""
    if parity is None:
        return False
    from smconvert.reports import conversion as conversion_report
    from smconvert.reports import writing

    source = conversion["source"]["format"] if conversion else "the source"
    document = conversion_report.document(
        {"path": Path(asked["upload"]).name, "format": source},
        {"path": asked["name"], "format": asked["target"]},
        parity,
    )
    for name in (REPORT, REPORT_JSON):
        writing.write(document, Path(name))
    return True


def _failed(error: SmconvertError) -> dict[str, Any]:
    return {"exit_code": error.exit_code, "error": error.to_json()}


def _without_folders(value: Any, asked: Mapping[str, Any]) -> Any:
    """Texts without the folders of the server, which are nobody's business."""
    if isinstance(value, str):
        for folder in (f"{Path.cwd()}/{_SOURCE}", Path.cwd(), Path(asked["upload"]).parent):
            value = value.replace(f"{folder}/", "").replace(str(folder), ".")
        return value
    if isinstance(value, dict):
        return {key: _without_folders(item, asked) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item, asked) for item in value]
    return value


def _write(path: Path, value: Any) -> None:
    begun = path.with_suffix(".begun")
    with begun.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    begun.replace(path)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _step(step: str) -> None:
    print(json.dumps({"step": step}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
