"""``smconvert convert SRC DST``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, progress, quieten_tensorflow, stdout


def convert(
    source: options.Source,
    destination: Annotated[
        Path,
        typer.Argument(help="model.onnx, model.pb, model.pbtxt, or a folder for a SavedModel."),
    ],
    source_format: options.From = None,
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
    target_format: Annotated[
        str | None,
        typer.Option(
            "--to", help="Target format, over the suffix.", rich_help_panel=options.TARGET
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set.", rich_help_panel=options.TARGET)
    ] = None,
    external_data: Annotated[
        bool,
        typer.Option(
            "--external-data",
            help="Keep ONNX weights in a file beside the model.",
            rich_help_panel=options.TARGET,
        ),
    ] = False,
    extensions: Annotated[
        bool,
        typer.Option(
            "--extensions",
            help="Allow ONNX ops of onnxruntime-extensions, for text that the standard lacks.",
            rich_help_panel=options.TARGET,
        ),
    ] = False,
    compat: Annotated[
        str | None,
        typer.Option(
            help="tf1: a SavedModel that TensorFlow 1.15 loads.", rich_help_panel=options.TARGET
        ),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            help="Write DST/VERSION/, as model servers watch.", rich_help_panel=options.TARGET
        ),
    ] = None,
    warmup: Annotated[
        bool,
        typer.Option(
            "--warmup",
            help="Write the check's inputs into a SavedModel, as warm-up requests of TensorFlow "
            "Serving.",
            rich_help_panel=options.TARGET,
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the destination.", rich_help_panel=options.TARGET),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check", help="Compare with the source.", rich_help_panel=options.CHECK
        ),
    ] = True,
    data: options.Data = None,
    rtol: options.Rtol = None,
    atol: options.Atol = None,
    seed: options.Seed = 0,
    keep_failed: Annotated[
        Path | None,
        typer.Option(help="New folder for a failed result.", rich_help_panel=options.CHECK),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Convert a model, and compare the result with the source before handing it over.

    [bold]Examples[/bold]

      smconvert convert iris_export/ iris.onnx

      smconvert convert model.ckpt-900.meta served/ --outputs prob=softmax --set is_training=false

      smconvert convert graph.pb out.onnx --checkpoint ckpt --map-variable '*=*/EMA'

    Exit codes: 0 done and checked, 2 usage, 3 source unreadable, 4 cannot be converted,
    5 the result differs, 6 converted, but the check could not be run.
    """
    with errors_as_exit_codes(debug):
        from smconvert import pipeline
        from smconvert.cli.report import conversion_json, conversion_text
        from smconvert.converters import TargetOptions
        from smconvert.parity.check import CheckOptions

        with progress(quiet, verbose) as step:
            step("starting TensorFlow")
            quieten_tensorflow()
            conversion = pipeline.convert(
                source,
                destination,
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
                target_options=TargetOptions(
                    opset=opset,
                    external_data=external_data or None,
                    extensions=extensions or None,
                    compat=compat,
                    version=version,
                    warmup=warmup or None,
                ),
                check_options=CheckOptions(rtol=rtol, atol=atol, seed=seed, data=data),
                checked=check,
                source_format=source_format,
                target_format=target_format,
                force=force,
                keep_failed=keep_failed,
                progress=step,
            )
        if as_json:
            typer.echo(conversion_json(conversion))
        elif not quiet:
            stdout().print(Text.from_markup(conversion_text(conversion)))
        raise SystemExit(conversion.exit_code)
