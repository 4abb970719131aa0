"""``smconvert serve``, and the tokens of a service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from smconvert.cli import options
from smconvert.cli.console import errors_as_exit_codes, stdout
from smconvert.errors import UsageError

serve = typer.Typer(
    name="serve",
    invoke_without_command=True,
    rich_markup_mode="rich",
    help="Run the conversion service, or manage its tokens.",
)

SERVER = "The server"
LIMITS = "What it allows"
GIB = 1 << 30

Folder = Annotated[
    Path,
    typer.Option("--folder", help="For the database, uploads and results.", rich_help_panel=SERVER),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="SMCONVERT_DATABASE",
        help="postgresql://…, instead of SQLite in the folder.",
        rich_help_panel=SERVER,
    ),
]


@serve.callback()
def run(
    context: typer.Context,
    folder: Folder = Path("smconvert-service"),
    database: DatabaseUrl = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="SMCONVERT_STORAGE",
            help="s3://…, gs://…: finished uploads and results there, instead of in the folder.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=SERVER)] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", rich_help_panel=SERVER)] = (
        8000
    ),
    workers: Annotated[
        int, typer.Option(min=0, help="Conversions at one time.", rich_help_panel=SERVER)
    ] = 2,
    behind: Annotated[
        list[str] | None,
        typer.Option(
            "--hostname",
            help="Name that the server is called by; repeat for more. Others are refused.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    https: Annotated[
        bool,
        typer.Option(
            "--https",
            help="A proxy speaks HTTPS for it: cookies go nowhere else.",
            rich_help_panel=SERVER,
        ),
    ] = False,
    json_log: Annotated[
        bool,
        typer.Option("--json-log", help="Log JSON, an object a line.", rich_help_panel=SERVER),
    ] = False,
    without_tokens: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Anyone who reaches the server may use it.",
            rich_help_panel=LIMITS,
        ),
    ] = False,
    upload_gib: Annotated[
        float, typer.Option(min=0, help="Largest upload, GiB.", rich_help_panel=LIMITS)
    ] = 16,
    memory_gib: Annotated[
        float, typer.Option(min=0, help="Memory of one job, GiB.", rich_help_panel=LIMITS)
    ] = 8,
    job_minutes: Annotated[
        float, typer.Option(min=0, help="Time of one job, minutes.", rich_help_panel=LIMITS)
    ] = 30,
    keep_days: Annotated[
        float,
        typer.Option(min=0, help="Days that jobs and results are kept.", rich_help_panel=LIMITS),
    ] = 7,
    debug: options.Debug = False,
) -> None:
    """Run the conversion service: an HTTP API, and a page for people.

    [bold]Examples[/bold]

      smconvert serve --open

      smconvert serve token alice

      smconvert serve --host 0.0.0.0 --hostname models.example.org --https
    """
    if context.invoked_subcommand is not None:
        return
    with errors_as_exit_codes(debug):
        _ensure_installed()
        from smconvert.service import server
        from smconvert.service.settings import DAY, JobLimits, Settings

        server.run(
            Settings(
                folder=folder.absolute(),
                database_url=database,
                storage_url=storage,
                workers=workers,
                open=without_tokens,
                hosts=server.allowed_hosts(host, behind or ()),
                secure_cookie=https,
                upload_bytes=int(upload_gib * GIB),
                log_format="json" if json_log else "text",
                keep_jobs=keep_days * DAY,
                limits=JobLimits(
                    memory_bytes=int(memory_gib * GIB),
                    cpu_seconds=int(job_minutes * 120),
                    wall_seconds=job_minutes * 60,
                ),
            ),
            host,
            port,
        )


@serve.command()
def token(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    folder: Folder = Path("smconvert-service"),
    database: DatabaseUrl = None,
    jobs: Annotated[int, typer.Option(help="Jobs that may wait or run.")] = 1000,
    storage_gib: Annotated[float, typer.Option(help="Uploads and results, GiB.")] = 64,
    per_minute: Annotated[int, typer.Option(help="Requests in a minute.")] = 6000,
    debug: options.Debug = False,
) -> None:
    """Make a token and print it, once: the service keeps only a hash of it."""
    with errors_as_exit_codes(debug):
        _ensure_installed()
        from smconvert.service import tokens
        from smconvert.service.database import open_database
        from smconvert.service.settings import Quota, Settings

        opened = open_database(Settings(folder=folder.absolute(), database_url=database))
        quota = Quota(jobs, int(storage_gib * GIB), per_minute)
        typer.echo(tokens.create(opened, name, quota))


@serve.command("tokens")
def list_tokens(
    folder: Folder = Path("smconvert-service"),
    database: DatabaseUrl = None,
    debug: options.Debug = False,
) -> None:
    """List the tokens: id, name, since when, and what they may take."""
    with errors_as_exit_codes(debug):
        _ensure_installed()
        from smconvert.service import tokens
        from smconvert.service.database import open_database
        from smconvert.service.settings import Settings

        for found in tokens.listed(
            open_database(Settings(folder=folder.absolute(), database_url=database))
        ):
            since = datetime.fromtimestamp(found.created, UTC).date().isoformat()
            quota = found.quota
            stdout().print(
                f"{found.id}  {found.name}  since {since}  {quota.active_jobs} jobs, "
                f"{quota.stored_bytes / GIB:g} GiB, {quota.requests_per_minute} requests a minute"
                f"{'  revoked' if found.revoked else ''}",
                markup=False,
            )


@serve.command()
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `tokens` lists it.")],
    folder: Folder = Path("smconvert-service"),
    database: DatabaseUrl = None,
    debug: options.Debug = False,
) -> None:
    """End a token."""
    with errors_as_exit_codes(debug):
        _ensure_installed()
        from smconvert.service import tokens
        from smconvert.service.database import open_database
        from smconvert.service.settings import Settings

        tokens.revoke(
            open_database(Settings(folder=folder.absolute(), database_url=database)), identifier
        )


def _ensure_installed() -> None:
    try:
        import fastapi
        import sqlalchemy
        import uvicorn
    except ImportError as error:
        raise UsageError(
            f"the service needs the package {error.name}, which is not installed",
            hint="pip install 'smconvert[service]'",
        ) from error
    del fastapi, sqlalchemy, uvicorn
