"""Forked sandboxes: they hold what the others hold, and share nothing that one of them does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smconvert import sandbox
from smconvert.errors import RuntimeFailure
from smconvert.sandbox import Ending, Limits
from smconvert.sandbox.warm import Warm

MB = 1 << 20
LIMITS = Limits(wall_seconds=30)
needs_namespaces = pytest.mark.skipif(
    "namespaces" not in sandbox.working_layers(), reason="no user namespaces on this machine"
)


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm(["decimal"]) as server:
        yield server


def run(warm: Warm, code: str, path: Path, limits: Limits = LIMITS) -> tuple[Ending, str]:
    folder = path / "job"
    folder.mkdir(exist_ok=True)
    ending = warm.run(
        "builtins:exec", textwrap.dedent(code), folder, limits,
        stdout=path / "stdout", stderr=path / "stderr",
    )  # fmt: skip
    return ending, (path / "stdout").read_text() + (path / "stderr").read_text()


def test_it_has_imported_and_shares_nothing(warm: Warm, tmp_path: Path) -> None:
    code = """
        import os, sys
        print("decimal" in sys.modules, "mark" in sys.modules, os.environ.get("MARK"))
        sys.modules["mark"] = sys
        os.environ["MARK"] = "1"
        open("out", "w").write(os.getcwd())
    """
    for _ in range(2):
        assert run(warm, code, tmp_path) == (Ending(0, None, None), "True False None\n")
    assert (tmp_path / "job" / "out").read_text() == str(tmp_path / "job")


def test_exit_codes_signals_and_tracebacks(warm: Warm, tmp_path: Path) -> None:
    assert run(warm, "raise SystemExit(3)", tmp_path) == (Ending(3, None, None), "")
    ending, said = run(warm, "1 / 0", tmp_path)
    assert ending.exit_code == 1
    assert "ZeroDivisionError" in said
    assert run(warm, "import os; os.abort()", tmp_path)[0].signal == signal.SIGABRT


@needs_namespaces
def test_no_network_no_writes_no_reads_no_processes(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
            import os, socket
            for forbidden in (
                lambda: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 2),
                lambda: open({str(tmp_path / "secret")!r}),
                lambda: open("/usr/x", "w"),
                lambda: open("/proc/1/environ").read(),
                lambda: os.kill({os.getpid()}, 0),
            ):
                try:
                    forbidden()
                    print("done")
                except OSError as error:
                    pass
            print(*(l.split()[1] for l in open("/proc/self/status") if l.startswith("Cap")))
        """
        _, said = run(warm, code, tmp_path)
    assert said == " ".join(["0" * 16] * 5) + "\n"


def test_limits(warm: Warm, tmp_path: Path) -> None:
    bomb = "blocks = []\nwhile True: blocks.append(bytearray(os.urandom(1 << 20)) * 4)"
    ending, _ = run(warm, f"import os\n{bomb}", tmp_path, Limits(memory_bytes=200 * MB))
    assert ending.exceeded == "memory" or ending.exit_code == 1
    ending, _ = run(warm, "import time; time.sleep(60)", tmp_path, Limits(wall_seconds=0.5))
    assert ending == Ending(None, signal.SIGKILL, "time")
    ending, _ = run(warm, "open('x', 'wb').write(bytes(1 << 24))", tmp_path, Limits(file_bytes=MB))
    assert ending.exceeded == "file"


def test_it_starts_again_when_it_was_killed(tmp_path: Path) -> None:
    with Warm([]) as server:
        assert run(server, "pass", tmp_path)[0].exit_code == 0
        assert server._server is not None
        server._server.kill()
        server._server.wait()
        assert run(server, "pass", tmp_path)[0].exit_code == 0


def test_what_starts_threads_is_not_forked() -> None:
    with Warm(["antigravity_of_no_module"]) as server, pytest.raises(RuntimeFailure):
        server.start()
    with Warm(["thread_at_import"]) as server, pytest.raises(RuntimeFailure, match="threads"):
        server.start()


def test_all_ends_when_the_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    program = f"""
        from pathlib import Path
        from smconvert.sandbox import Limits
        from smconvert.sandbox.warm import Warm
        code = "import os, time; os.fork(); open('ready', 'w'); time.sleep(300)"
        with Warm([]) as warm:
            warm.run("builtins:exec", code, Path({str(tmp_path / "job")!r}), Limits(),
                     stdout=Path("o"), stderr=Path("e"))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "job" / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while _in(tmp_path / "job"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _in(folder: Path) -> list[str]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/cwd") == str(folder):
                found.append(name)
        except OSError:
            continue
    return found
