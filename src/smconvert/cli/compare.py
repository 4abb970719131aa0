"""``smconvert compare A B``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, progress, quieten_tensorflow, stdout
from smconvert.errors import EXIT_DONE, EXIT_NOT_CHECKED, ParityError

WHERE = "Where to run"


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The reference, of any format.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="What is compared with it.")],
    on: Annotated[
        str,
        typer.Option(
            help="Places: tf:cpu, tf:cpu:xla, ort:cpu, ort:cuda, ort:cuda:tf32, "
            "ort:tensorrt:fp16; with commas.",
            rich_help_panel=WHERE,
        ),
    ] = "",
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="A device that must have run, such as cuda. Repeatable.", rich_help_panel=WHERE
        ),
    ] = None,
    data: options.Data = None,
    seed: options.Seed = 0,
    special: Annotated[
        bool,
        typer.Option(
            "--special",
            help="Feed infinities, NaN and denormals too.",
            rich_help_panel=options.CHECK,
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Feed two batches, and no odd, empty or zero ones.",
            rich_help_panel=options.CHECK,
        ),
    ] = False,
    rtol: options.Rtol = None,
    atol: options.Atol = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="NAME_IN_A=NAME_IN_B of an input or output. Repeatable.",
            rich_help_panel=options.CHECK,
        ),
    ] = None,
    smallest: Annotated[
        Path | None,
        typer.Option(
            help="On failure, look for the smallest input that fails, and write it to this .npz.",
            rich_help_panel=options.CHECK,
        ),
    ] = None,
    where: Annotated[
        bool,
        typer.Option(
            "--bisect",
            help="On failure, look for the tensor at which they part; B is ONNX.",
            rich_help_panel=options.CHECK,
        ),
    ] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write a report: .html, .json or .xml (JUnit). Repeatable.",
            rich_help_panel=options.GENERAL,
        ),
    ] = None,
    tag: options.Tag = None,
    signature: options.SignatureNames = None,
    inputs: options.Inputs = None,
    outputs: options.Outputs = None,
    fixed: options.Fixed = None,
    checkpoint: options.Checkpoint = None,
    map_variable: options.MapVariable = None,
    cut_examples: options.CutExamples = False,
    op_library: options.OpLibrary = None,
    model: options.Model = None,
    custom_objects: options.CustomObjects = None,
    allow_op: options.AllowOp = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Compare two models, of any formats, at every place they can run.

    How to read the source applies to both models, as far as their formats have a meaning for it.

    [bold]Examples[/bold]

      smconvert compare export/ model.onnx --on tf:cpu,ort:cpu,ort:cuda --report parity.html

      smconvert compare old.pb new.onnx --map x=input_1:0 --data images.npz

      smconvert compare a.onnx b.onnx --on ort:cpu,ort:tensorrt:fp16 --require tensorrt
    """
    with errors_as_exit_codes(debug):
        quieten_tensorflow()
        import json

        from smconvert.bisection import bisect
        from smconvert.cli.feeds import save_npz
        from smconvert.cli.report import print_comparison
        from smconvert.comparison import CompareOptions
        from smconvert.comparison import compare as run
        from smconvert.parity.comparison import Verdict
        from smconvert.reports.document import document
        from smconvert.reports.writing import ensure_writable, write

        for path in report or ():
            ensure_writable(path)
        reading = options.source_options(
            tag=tag,
            signature=signature,
            inputs=inputs,
            outputs=outputs,
            fixed=fixed,
            checkpoint=checkpoint,
            map_variable=map_variable,
            cut_examples=cut_examples,
            op_library=op_library,
            model=model,
            custom_objects=custom_objects,
            allow_op=allow_op,
        )
        how = CompareOptions(
            on=on,
            data=data,
            seed=seed,
            special=special,
            quick=quick,
            rtol=rtol,
            atol=atol,
            names=options.pairs(names, "--map", lambda text, _: text),
        )
        with progress(quiet or as_json, verbose) as step:
            found = run(
                first,
                second,
                how,
                first_options=reading,
                second_options=reading,
                smallest=smallest is not None,
                progress=step,
            )
        parting = None
        if where and found.verdict is Verdict.FAILED and found.second.format == "onnx":
            with progress(quiet or as_json, verbose) as step:
                parting = bisect(first, second, how, first_options=reading, progress=step)
        told = document(found, parting)
        for path in report or ():
            write(told, path)
        if smallest is not None and found.smallest is not None:
            save_npz(found.smallest, smallest)
        if as_json:
            typer.echo(json.dumps(told, indent=2))
        elif not quiet:
            print_comparison(told, stdout())
            for line in parting.told(8) if parting is not None else ():
                stdout().print(escape(line))
        missing = found.missing(require or ())
        if missing and not quiet:
            stdout().print(f"required, and not run: {', '.join(missing)}")
        exit_code = _exit_code(told["verdict"], bool(missing))
    raise typer.Exit(exit_code)


def _exit_code(verdict: str, missing: bool) -> int:
    if verdict == "failed":
        return ParityError.exit_code
    return EXIT_NOT_CHECKED if missing or verdict == "not_run" else EXIT_DONE
