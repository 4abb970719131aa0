"""``smconvert run MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, stdout
from smconvert.errors import UsageError

FEEDS = "What to feed"


def run(
    model: Annotated[
        Path | None, typer.Argument(help="The model: a file, a folder, a prefix or a URL.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="A served model in its place: http://host:8501/v1/models/NAME or "
            "grpc://host:8500/NAME.",
            rich_help_panel=options.SOURCE,
        ),
    ] = None,
    input_files: Annotated[
        list[str] | None,
        typer.Option("--inputs", help="x=a.npy or x=b.npz[key].", rich_help_panel=FEEDS),
    ] = None,
    input_exprs: Annotated[
        list[str] | None,
        typer.Option("--input-exprs", help="x=[[1, 2]]: a literal.", rich_help_panel=FEEDS),
    ] = None,
    input_examples: Annotated[
        list[str] | None,
        typer.Option(
            "--input-examples",
            help="x=[{'age': [22.0]}]: tf.Examples from a literal.",
            rich_help_panel=FEEDS,
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the outputs to this .npz.", rich_help_panel=FEEDS)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the .npz.", rich_help_panel=FEEDS)
    ] = False,
    source_format: options.From = None,
    tag: options.Tag = None,
    signature: options.SignatureNames = None,
    graph_inputs: Annotated[
        str | None,
        typer.Option(
            "--graph-inputs",
            help="Inputs of a graph without signatures: x:0,y=image:0.",
            rich_help_panel=options.SOURCE,
        ),
    ] = None,
    graph_outputs: Annotated[
        str | None,
        typer.Option("--graph-outputs", help="Outputs, likewise.", rich_help_panel=options.SOURCE),
    ] = None,
    fixed: options.Fixed = None,
    checkpoint: options.Checkpoint = None,
    map_variable: options.MapVariable = None,
    cut_examples: options.CutExamples = False,
    op_library: options.OpLibrary = None,
    factory: options.Model = None,
    custom_objects: options.CustomObjects = None,
    allow_op: options.AllowOp = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Run one signature of a model in its own runtime and print the outputs.

    [bold]Examples[/bold]

      smconvert run model.onnx --input-exprs 'x=[[5.1, 3.3]]' --json

      smconvert run export/ --signature predict --inputs x=features.npz[x] --save out.npz

      smconvert run --url http://localhost:8501/v1/models/iris --input-exprs 'x=[[5.1, 3.3]]'

      smconvert run export/ --signature classify --input-examples 'inputs=[{"age": [22.0]}]'
    """
    with errors_as_exit_codes(debug):
        from smconvert import pipeline
        from smconvert.cli.feeds import feeds_for, save_npz
        from smconvert.cli.report import outputs_json, print_outputs

        if (model is None) == (url is None):
            raise UsageError("name one model to run, by its path or by --url")
        if save is not None:
            from smconvert.staging import ensure_free

            ensure_free(save, force)
        outputs = pipeline.run(
            model or str(url),
            feeds_for(input_files, input_exprs, input_examples),
            options.source_options(
                tag=tag,
                signature=signature,
                inputs=graph_inputs,
                outputs=graph_outputs,
                fixed=fixed,
                checkpoint=checkpoint,
                map_variable=map_variable,
                cut_examples=cut_examples,
                op_library=op_library,
                model=factory,
                custom_objects=custom_objects,
                allow_op=allow_op,
            ),
            source_format=source_format,
        )
        if save is not None:
            save_npz(outputs, save)
        if as_json:
            typer.echo(outputs_json(outputs))
        else:
            print_outputs(outputs, stdout())
