"""The command line: a thin layer on the Python API, one file a command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from smconvert.cli.batch import batch
from smconvert.cli.bisect import bisect
from smconvert.cli.bundle import bundle, verify
from smconvert.cli.compare import compare
from smconvert.cli.convert import convert
from smconvert.cli.doctor import doctor
from smconvert.cli.inspect import inspect
from smconvert.cli.run import run as run_command
from smconvert.cli.serve import serve
from smconvert.graph import tensorflow_parts

app = typer.Typer(
    name="smconvert",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(convert)
app.command()(inspect)
app.command()(compare)
app.command()(bisect)
app.command()(bundle)
app.command()(verify)
app.command()(doctor)
app.command()(batch)
app.command(name="run")(run_command)
app.add_typer(serve)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("smconvert"))
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Moves any TensorFlow model to SavedModel, frozen graph or ONNX, and proves the result."""


def run() -> None:
    """The console script."""
    tensorflow_parts.install()
    app()


if __name__ == "__main__":
    run()
