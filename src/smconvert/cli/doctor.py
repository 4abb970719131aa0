"""``smconvert doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer
from rich.markup import escape

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, progress, stdout

_MARKS = {
    "ok": "[green]ok     [/]",
    "problem": "[bold red]problem[/]",
    "absent": "[yellow]absent [/]",
}
EXIT_PROBLEM = 1


def doctor(
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Look at this machine: versions, devices, providers, and what to install.

    A small model is run at each place. It ends with 1 if something is wrong; a GPU that is not
    there is not wrong.

    [bold]Example[/bold]

      smconvert doctor
    """
    with errors_as_exit_codes(debug):
        from smconvert.doctor import PROBLEM, examine

        with progress(as_json, False) as step:
            step("running a small model at each place")
            findings = examine()
        if as_json:
            typer.echo(json.dumps([asdict(f) for f in findings], indent=2))
        else:
            console = stdout()
            for f in findings:
                console.print(f"{_MARKS[f.state]} {escape(f.subject)}: {escape(f.detail)}")
                if f.hint and f.state != "ok":
                    console.print(f"        try: {escape(f.hint)}")
        wrong = any(f.state == PROBLEM for f in findings)
    raise typer.Exit(EXIT_PROBLEM if wrong else 0)
