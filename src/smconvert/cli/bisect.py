"""``smconvert bisect A B``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, progress, quieten_tensorflow, stdout
from smconvert.errors import EXIT_DONE, ParityError

_SHOWN = 8


def bisect(
    first: Annotated[Path, typer.Argument(metavar="A", help="What is right: any format.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The ONNX model that differs.")],
    reproducer: Annotated[
        Path | None,
        typer.Option(
            help="Write the nodes where they part, with their inputs, as a bundle: python FILE "
            "runs it with onnxruntime alone.",
            rich_help_panel=options.CHECK,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the reproducer.", rich_help_panel=options.CHECK)
    ] = False,
    data: options.Data = None,
    seed: options.Seed = 0,
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
    """Find the first tensor at which an ONNX model parts from what it was made of.

    It ends with 5 if they part, and with 0 if they agree.

    [bold]Examples[/bold]

      smconvert bisect export/ model.onnx

      smconvert bisect right.onnx wrong.onnx --data images.npz --reproducer part.bundle
    """
    with errors_as_exit_codes(debug):
        quieten_tensorflow()
        import json

        from smconvert.bisection import bisect as search
        from smconvert.bisection import write_reproducer
        from smconvert.comparison import CompareOptions
        from smconvert.staging import ensure_free

        if reproducer is not None:
            ensure_free(reproducer, force)
        how = CompareOptions(
            data=data,
            seed=seed,
            rtol=rtol,
            atol=atol,
            names=options.pairs(names, "--map", lambda text, _: text),
        )
        with progress(quiet or as_json, verbose) as step:
            found = search(
                first,
                second,
                how,
                first_options=options.source_options(
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
                ),
                progress=step,
            )
        told = found.to_json()
        if reproducer is not None and found.parting is not None:
            write_reproducer(found.parting, reproducer, how)
        if as_json:
            typer.echo(json.dumps(told, indent=2))
        elif not quiet:
            console = stdout()
            for line in found.told(_SHOWN):
                console.print(escape(line))
        exit_code = EXIT_DONE if found.agrees else ParityError.exit_code
    raise typer.Exit(exit_code)
