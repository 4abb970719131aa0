"""A PostgreSQL server of the tests' own, where its programs are installed."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = shutil.which("initdb") and shutil.which("pg_ctl")


def _user() -> str | None:
    """It refuses to run as root; the system's user for it will do."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("postgres").pw_name


@contextmanager
def cluster() -> Iterator[str]:
    """The URL, without a database, of a server that is gone afterwards."""
    user = _user()
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        with _started(folder, user) as url:
            yield url


@contextmanager
def _started(folder: Path, user: str | None) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, name = folder / "data", "tests"

    def run(*command: str) -> None:
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    run("initdb", "-D", str(data), "-U", name, "--auth=trust", "--no-sync")
    flags = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -p {port} -F"
    run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-o", flags, "-w", "start")
    try:
        yield f"postgresql://{name}@127.0.0.1:{port}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


def usable() -> bool:
    """Whether a cluster can be had here."""
    try:
        return bool(PROGRAMS and (getpass.getuser() != "root" or _user()))
    except KeyError:
        return False
