"""``smconvert inspect SRC``."""

from __future__ import annotations

import typer

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, stdout


def inspect(
    source: options.Source,
    source_format: options.From = None,
    tag: options.Tag = None,
    signature: options.SignatureNames = None,
    inputs: options.Inputs = None,
    outputs: options.Outputs = None,
    checkpoint: options.Checkpoint = None,
    cut_examples: options.CutExamples = False,
    model: options.Model = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Show what a model is: format, signatures, variables, ops, and what would stop a target.

    [bold]Examples[/bold]

      smconvert inspect iris_export/

      smconvert inspect frozen.pb --json
    """
    with errors_as_exit_codes(debug):
        from smconvert import pipeline
        from smconvert.cli.report import description_json, print_description

        description = pipeline.inspect(
            source,
            options.source_options(
                tag=tag,
                signature=signature,
                inputs=inputs,
                outputs=outputs,
                fixed=None,
                checkpoint=checkpoint,
                map_variable=None,
                cut_examples=cut_examples,
                op_library=None,
                model=model,
                custom_objects=None,
            ),
            source_format=source_format,
        )
        if as_json:
            typer.echo(description_json(description))
        else:
            print_description(description, stdout())
