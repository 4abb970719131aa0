"""``smconvert batch MANIFEST``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from smconvert.cli import options
from smconvert.cli.console import EXIT_INTERRUPTED, errors_as_exit_codes, stderr, stdout
from smconvert.errors import UsageError

if TYPE_CHECKING:
    from smconvert.batch.engine import Engine
    from smconvert.batch.local import Capacity
    from smconvert.batch.run import Event, Summary

WORK = "The work"
_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
STATE = ".smconvert-batch"


def batch(
    manifest: Annotated[
        str, typer.Argument(help="A YAML manifest; or a folder, file, glob or fsspec URL.")
    ],
    into: Annotated[
        str | None, typer.Option(help="Folder or URL for the results.", rich_help_panel=WORK)
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Target format.", rich_help_panel=options.TARGET)
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set.", rich_help_panel=options.TARGET)
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check", help="Compare with the source.", rich_help_panel=options.CHECK
        ),
    ] = True,
    engine: Annotated[
        str, typer.Option(help="local, or ray (smconvert[ray]).", rich_help_panel=WORK)
    ] = "local",
    ray_address: Annotated[
        str,
        typer.Option(help="Of the Ray cluster; by default RAY_ADDRESS.", rich_help_panel=WORK),
    ] = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many at a time; by default one a core.", rich_help_panel=WORK
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="What all may use together, such as 12G; by default most of what is free.",
            rich_help_panel=WORK,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for one model.", rich_help_panel=WORK)
    ] = 3600,
    warm: Annotated[
        bool,
        typer.Option(
            "--warm/--no-warm",
            help="Fork conversions from a process that has imported TensorFlow.",
            rich_help_panel=WORK,
        ),
    ] = True,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try again what failed before.", rich_help_panel=WORK),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace what others put at a destination.", rich_help_panel=WORK
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder of the journal; by default {STATE} in that of the results.",
            rich_help_panel=WORK,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="HTML page over all; by default batch.html beside the results.",
            rich_help_panel=WORK,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a line of JSON for each event.", rich_help_panel=options.GENERAL
        ),
    ] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Convert and check many models; killed at any point, the same command goes on from there.

    [bold]Examples[/bold]

      smconvert batch old_models/ --into converted/ --to onnx

      smconvert batch 'models/*/export' --into converted/ --to savedmodel --jobs 4 --memory 12G

      smconvert batch batch.yaml --retry-failed --json

    Exit codes: 0 all done and checked; otherwise the gravest of any model, as convert has them: 1
    internal, 5 a result differs, 4 cannot be converted, 3 source unreadable, 2 usage, 6 converted
    but not checked.
    """
    with errors_as_exit_codes(debug):
        from smconvert.batch import manifest as manifests
        from smconvert.batch import page, run
        from smconvert.batch.discovery import is_local
        from smconvert.batch.local import Capacity, available_memory
        from smconvert.batch.plan import plan

        given = {"to": to, "opset": opset, "check": None if check else False}
        wanted = manifests.read(manifest, {k: v for k, v in given.items() if v is not None})
        place = into or wanted.into
        if place is None:
            raise UsageError("it is not said where the results go", hint="--into FOLDER")
        folder = Path(place) if is_local(place) else Path()
        state = state or folder / STATE
        report = report or (folder if is_local(place) else state) / "batch.html"
        bytes_ = size(memory) if memory else available_memory()
        capacity = Capacity(jobs or os.cpu_count() or 1, bytes_, timeout)
        chosen = _engine(engine, capacity, warm, place, ray_address)
        planned = plan(wanted)
        try:
            with _watching(as_json, quiet) as tell:
                summary = run.run(
                    planned,
                    place,
                    state,
                    chosen,
                    force=force,
                    retry_failed=retry_failed,
                    tell=tell,
                )
        except KeyboardInterrupt as error:
            stderr().print("interrupted; the same command goes on from here")
            raise SystemExit(EXIT_INTERRUPTED) from error
        page.write(summary, manifest, report)
        if as_json:
            typer.echo(json.dumps({"event": "summary", **summary.to_json(), "report": str(report)}))
        elif not quiet:
            _print(summary, report)
        raise SystemExit(summary.exit_code)


def size(text: str) -> int:
    """Bytes, of a text such as ``12G`` or ``512MB``.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise UsageError(f"{text!r} is no size", where="--memory", hint="such as 12G or 800M")
    return int(float(match[1]) * _SIZES[match[2]])


def _engine(name: str, capacity: Capacity, warm: bool, into: str, ray_address: str) -> Engine:
    from smconvert.batch.local import LocalEngine
    from smconvert.batch.ray_engine import RayEngine

    if name == "local":
        return LocalEngine(capacity, warm=warm)
    if name == "ray":
        return RayEngine(into, capacity, ray_address)
    raise UsageError(f"{name!r} is no engine", where="--engine", hint="local or ray")


@contextmanager
def _watching(as_json: bool, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Lines of JSON for programs; a bar for people on a terminal, else a line for each failure."""
    if as_json:
        yield lambda event: typer.echo(json.dumps(event.to_json()))
        return
    if quiet:
        yield lambda event: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = stderr()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("planning", total=None)
        running: dict[str, None] = {}
        failed = 0

        def tell(event: Event) -> None:
            nonlocal failed
            if event.kind == "planned":
                bar.update(task, total=event.facts["total"], completed=event.facts["ended"])
                bar.update(task, description="starting TensorFlow")
                return
            if event.kind == "started":
                running[str(event.name)] = None
            else:
                running.pop(str(event.name), None)
            if event.kind == "ended":
                bar.advance(task)
                error = event.facts["error"]
                if error:
                    failed += 1
                    console.print(f"{event.name}: {error['message']}", style="red", markup=False)
            words = f"{failed} failed; " if failed else ""
            bar.update(task, description=words + ", ".join(escape(name) for name in running))

        yield tell


def _print(summary: Summary, report: Path) -> None:
    from smconvert.batch.page import WORDS

    console = stdout()
    counts = ", ".join(f"{count} {WORDS[name]}" for name, count in summary.counts.items())
    console.print(f"[bold]{len(summary.entries)} models[/bold]: {counts}")
    if summary.causes:
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        table.add_column("models", justify="right")
        table.add_column("code")
        table.add_column("what is wrong, and what to try", overflow="fold")
        for cause in summary.causes:
            advice = f"\n  [dim]{escape(cause.hint)}[/dim]" if cause.hint else ""
            table.add_row(str(len(cause.names)), cause.code, escape(cause.message) + advice)
        console.print(table)
    console.print(f"all of it: {escape(str(report))}")
