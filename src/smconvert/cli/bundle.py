"""``smconvert bundle`` and ``smconvert verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, progress, quieten_tensorflow, stdout


def bundle(
    source: options.Source,
    destination: Annotated[Path, typer.Argument(help="The file to write.")],
    onnx: Annotated[
        Path | None,
        typer.Option(
            help="The ONNX model to bundle; by default the source is converted.",
            rich_help_panel=options.TARGET,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file.", rich_help_panel=options.TARGET)
    ] = False,
    data: options.Data = None,
    seed: options.Seed = 0,
    rtol: options.Rtol = None,
    atol: options.Atol = None,
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
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Put a model, inputs and the source's outputs into one file that proves itself anywhere.

    The file is a zip archive that Python runs: on a machine with nothing but numpy and onnxruntime,
    [bold]python FILE --on ort:cuda[/bold] runs the model and compares.

    [bold]Examples[/bold]

      smconvert bundle export/ iris.bundle

      smconvert bundle export/ iris.bundle --onnx iris.onnx --data rows.npz
    """
    with errors_as_exit_codes(debug):
        quieten_tensorflow()
        from smconvert.bundle.write import make
        from smconvert.comparison import CompareOptions

        with progress(quiet, verbose) as step:
            made = make(
                source,
                destination,
                model=onnx,
                source_options=options.source_options(
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
                options=CompareOptions(data=data, seed=seed, rtol=rtol, atol=atol),
                force=force,
                progress=step,
            )
        if not quiet:
            (matrix,) = made.comparison.matrices
            console = stdout()
            console.print(f"wrote {destination}")
            console.print(f"  inputs: {', '.join(c.label for c in matrix.calls)}")
            console.print(f"  proved here on {matrix.columns[0].contender.place}")


def verify(
    bundle_file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What bundle wrote.")],
    on: Annotated[
        str, typer.Option(help="Places: ort:cpu, ort:cuda, ort:cuda:tf32, ort:tensorrt:fp16.")
    ] = "ort:cpu",
    require: Annotated[
        list[str] | None, typer.Option(help="A device that must have run, such as cuda.")
    ] = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Prove a bundle on this machine, with ONNX Runtime alone.

    [bold]Example[/bold]

      smconvert verify iris.bundle --on ort:cpu,ort:cuda --require cuda
    """
    with errors_as_exit_codes(debug):
        import json

        from smconvert.bundle import verify as proving
        from smconvert.runtimes.places import places

        proofs = proving.verify(bundle_file, places(on))
        if as_json:
            typer.echo(json.dumps([p.to_json() for p in proofs], indent=2))
        else:
            typer.echo(proving.told(proofs))
        exit_code = proving.exit_code(proofs, require or ())
    raise typer.Exit(exit_code)
