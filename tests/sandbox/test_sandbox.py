"""Programs that try to get out of the sandbox, and what becomes of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smconvert import sandbox
from smconvert.errors import RuntimeFailure
from smconvert.sandbox import Ending, Limits

needs_namespaces = pytest.mark.skipif(
    "namespaces" not in sandbox.working_layers(), reason="no user namespaces on this machine"
)
WORKING = sandbox.working_layers()
WITHOUT_NAMESPACES = ("landlock", "seccomp")
needs_landlock = pytest.mark.skipif(
    not sandbox.works("landlock") or "seccomp" not in WORKING,
    reason="no Landlock or no seccomp on this machine",
)
both = pytest.mark.parametrize("layers", [WORKING, ()], ids=["all", "limits"])
confined = pytest.mark.parametrize(
    "layers",
    [
        pytest.param(WORKING, marks=needs_namespaces, id="namespaces"),
        pytest.param(WITHOUT_NAMESPACES, marks=needs_landlock, id="landlock"),
    ],
)
MB = 1 << 20
HALF_A_MINUTE = Limits(wall_seconds=30)


class Place:
    """A folder with a program to run in it."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "job"
        self.folder.mkdir()
        self.stdout, self.stderr = path / "stdout", path / "stderr"

    def run(self, code: str, limits: Limits = HALF_A_MINUTE, **more: object) -> Ending:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        return sandbox.run(
            command, self.folder, limits, stdout=self.stdout, stderr=self.stderr, **more
        )  # type: ignore[arg-type]

    @property
    def said(self) -> str:
        return self.stdout.read_text() + self.stderr.read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@both
def test_a_program_runs_in_its_folder(place: Place, layers: tuple[str, ...]) -> None:
    (place.folder / "in").write_text("5")
    ending = place.run("open('out', 'w').write(open('in').read() * 2); print('hi')", layers=layers)
    assert ending == Ending(0, None, None)
    assert (place.folder / "out").read_text() == "55"
    assert place.stdout.read_text() == "hi\n"
    assert sorted(p.name for p in place.folder.iterdir()) == ["in", "out"]


@both
def test_exit_codes_and_signals_are_told(place: Place, layers: tuple[str, ...]) -> None:
    assert place.run("raise SystemExit(7)", layers=layers) == Ending(7, None, None)
    ending = place.run("import os; os.kill(os.getpid(), 11)", layers=layers)
    assert ending == Ending(None, 11, None)
    ending = sandbox.run(
        ["no-such-program"], place.folder, Limits(), stdout=place.stdout, stderr=place.stderr,
        layers=layers,
    )  # fmt: skip
    assert ending == Ending(127, None, None)
    assert "no-such-program: No such file or directory" in place.said


@confined
def test_no_network_in_or_out(place: Place, layers: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
            import socket
            for address in (("127.0.0.1", {port}), ("8.8.8.8", 53)):
                try:
                    socket.create_connection(address, 2)
                except OSError as error:
                    print(type(error).__name__)
            try:
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53))
            except OSError as error:
                print(type(error).__name__)
        """
        assert place.run(code, layers=layers).exit_code == 0
        assert len(place.said.split()) == 3
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


@needs_namespaces
def test_no_local_socket_of_others(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as abstract:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        abstract.bind(f"\0smconvert-{os.getpid()}")
        abstract.listen()
        code = f"""
            import socket
            for path in ({str(tmp_path / "socket")!r}, "\\0smconvert-{os.getpid()}"):
                try:
                    socket.socket(socket.AF_UNIX).connect(path)
                    print("connected")
                except OSError as error:
                    print("refused")
        """
        place.run(code)
        assert place.said.split() == ["refused", "refused"]


@confined
def test_nothing_outside_is_written(place: Place, tmp_path: Path, layers: tuple[str, ...]) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    (place.folder / "link").symlink_to(target)
    code = f"""
        import os
        for path in ({str(target)!r}, "link", "/usr/x", "/etc/x", "/x", {sys.prefix!r} + "/x",
                     {str(tmp_path)!r} + "/x", "/dev/x", "/sys/x"):
            try:
                open(path, "w").write("x")
                print("wrote", path)
            except OSError:
                pass
        import tempfile
        open(tempfile.gettempdir() + "/mine", "w").write("x")
    """
    assert place.run(code, layers=layers).exit_code == 0, place.said
    # Its /tmp is its own, and so is what seems to be written there.
    assert all(line.startswith(("wrote /tmp/", "wrote link")) for line in place.said.splitlines())
    assert target.read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["job", "precious", "stderr", "stdout"]
    assert not Path("/tmp/mine").exists()


@confined
def test_only_what_is_named_can_be_read(
    place: Place, tmp_path: Path, layers: tuple[str, ...]
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("weights")
    (tmp_path / "alias").symlink_to(tmp_path / "model")
    code = f"""
        import os
        print(open({str(tmp_path / "alias" / "weights")!r}).read())
        for path in ({str(tmp_path / "secret")!r}, "/etc/shadow", "/proc/1/environ", "/root/.ssh"):
            try:
                os.listdir(path) if os.path.isdir(path) else open(path).read()
                print("read", path)
            except OSError:
                pass
        try:
            open({str(tmp_path / "model" / "weights")!r}, "a")
        except OSError:
            print("read only")
    """
    place.run(code, readable=[tmp_path / "alias", tmp_path / "model"], layers=layers)
    assert place.said.splitlines() == ["weights", "read only"]


@both
def test_secrets_of_the_environment_are_not_told(
    place: Place, layers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("SMCONVERT_TOKEN", "hush")
    monkeypatch.setenv("DATABASE_URL", "hush")
    place.run("import os; print(dict(os.environ))", layers=layers)
    assert "PATH" in place.said
    assert "hush" not in place.said


@confined
def test_no_way_back_to_privileges(place: Place, layers: tuple[str, ...]) -> None:
    code = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        folder = os.getcwd().encode()
        print(libc.umount2(folder, 2), libc.mount(b"none", folder, b"tmpfs", 0, b""),
              libc.mount(None, b"/usr", None, 32 | 4096, None), libc.sethostname(b"x", 1),
              libc.unshare(0x10000000), libc.ptrace(0, 0, 0, 0))
        fields = dict(l.split(":", 1) for l in open("/proc/self/status"))
        print(*(fields[f"Cap{k}"].strip() for k in ("Prm", "Eff", "Bnd", "Amb")),
              fields["NoNewPrivs"].strip())
    """
    place.run(code, layers=layers)
    nothing = "0" * 16
    assert place.said.splitlines() == ["-1 -1 -1 -1 -1 -1", f"{nothing} " * 4 + "1"]


@needs_namespaces
def test_other_processes_are_not_seen(place: Place) -> None:
    code = f"""
        import os
        print(sum(name.isdigit() for name in os.listdir("/proc")))
        try:
            os.kill({os.getpid()}, 0)
        except ProcessLookupError:
            print("not there")
    """
    place.run(code)
    assert place.said.split("\n")[:2] == ["2", "not there"]


@both
def test_a_memory_bomb(place: Place, layers: tuple[str, ...]) -> None:
    code = """
        import os, time
        for _ in range(4):  # each alone stays below the limit
            if os.fork() == 0:
                block = bytearray(os.urandom(1 << 20) * 60)
                time.sleep(60)
        time.sleep(60)
    """
    start = time.monotonic()
    ending = place.run(code, Limits(memory_bytes=200 * MB, wall_seconds=50), layers=layers)
    assert ending == Ending(None, signal.SIGKILL, "memory")
    assert time.monotonic() - start < 40


@both
def test_one_huge_allocation_fails_at_once(place: Place, layers: tuple[str, ...]) -> None:
    ending = place.run("bytearray(1 << 36)", Limits(memory_bytes=200 * MB), layers=layers)
    assert ending.exit_code == 1
    assert "MemoryError" in place.said


@needs_namespaces
def test_a_fork_bomb(place: Place) -> None:
    code = """
        import os, time
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(0.1)
    """
    ending = place.run(code, Limits(wall_seconds=20))
    assert ending.signal == signal.SIGKILL
    assert ending.exceeded in {"tasks", "time"}
    assert not _running(str(place.folder))


@both
def test_cpu_time_of_all_processes_together(place: Place, layers: tuple[str, ...]) -> None:
    code = """
        import os
        for _ in range(3):
            os.fork()
        while True:
            pass
    """
    ending = place.run(code, Limits(cpu_seconds=2, wall_seconds=60), layers=layers)
    assert ending == Ending(None, signal.SIGKILL, "cpu")


@both
def test_wall_time(place: Place, layers: tuple[str, ...]) -> None:
    start = time.monotonic()
    ending = place.run("import time; time.sleep(60)", Limits(wall_seconds=1), layers=layers)
    assert ending == Ending(None, signal.SIGKILL, "time")
    assert time.monotonic() - start < 20


@both
def test_cancelled(place: Place, layers: tuple[str, ...]) -> None:
    cancelled = threading.Event()
    threading.Timer(1, cancelled.set).start()
    ending = place.run("import time; time.sleep(60)", cancelled=cancelled, layers=layers)
    assert ending == Ending(None, signal.SIGKILL, "cancelled")


@both
@pytest.mark.parametrize("where", ["big", "/dev/stdout"])
def test_a_large_file(place: Place, layers: tuple[str, ...], where: str) -> None:
    code = f"""
        with open({where!r}, "ab") as stream:
            for _ in range(100):
                stream.write(bytes(1 << 20))
    """
    ending = place.run(code, Limits(file_bytes=10 * MB), layers=layers)
    assert ending.exceeded == "file"
    assert sandbox.usage.largest((place.folder, place.stdout)) == 10 * MB


@both
def test_many_files(place: Place, layers: tuple[str, ...]) -> None:
    code = """
        import itertools
        for number in itertools.count():
            open(str(number), "wb").write(bytes(1 << 20))
    """
    limits = Limits(file_bytes=10 * MB, folder_bytes=50 * MB, wall_seconds=60)
    assert place.run(code, limits, layers=layers).exceeded == "file"


_ORPHAN = """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            open("ready", "w").close()
            time.sleep(300)
        os._exit(0)
    while not os.path.exists("ready"):
        time.sleep(0.01)
"""


@both
@pytest.mark.parametrize("ends", ["", "time.sleep(300)"], ids=["it ends", "it is ended"])
def test_orphans_end_too(place: Place, layers: tuple[str, ...], ends: str) -> None:
    code = textwrap.dedent(_ORPHAN) + ends
    place.run(code, Limits(wall_seconds=3), layers=layers)
    assert (place.folder / "ready").exists()
    assert not _running(str(place.folder))


@both
def test_all_ends_when_the_parent_is_killed(tmp_path: Path, layers: tuple[str, ...]) -> None:
    (tmp_path / "job").mkdir()
    program = f"""
        import sys
        from pathlib import Path
        from smconvert import sandbox
        code = {textwrap.dedent(_ORPHAN) + "time.sleep(300)"!r}
        sandbox.run([sys.executable, "-c", code], Path("job"), sandbox.Limits(),
                    stdout=Path("o"), stderr=Path("e"), layers={layers!r})
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path)
    _until((tmp_path / "job" / "ready").exists)
    assert _running(str(tmp_path / "job"))
    parent.kill()
    parent.wait()
    _until(lambda: not _running(str(tmp_path / "job")))


def test_threads_and_local_sockets_still_work(place: Place) -> None:
    code = """
        import socket, threading, subprocess
        threads = [threading.Thread(target=print, args=("x",)) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        one, other = socket.socketpair()
        one.send(b"y")
        print(other.recv(1), subprocess.run(["true"]).returncode)
    """
    assert place.run(code).exit_code == 0, place.said
    assert place.said.split() == ["x", "x", "x", "b'y'", "0"]


@needs_namespaces
def test_what_cannot_be_set_up_is_not_run(place: Place) -> None:
    with pytest.raises(RuntimeFailure, match="the sandbox could not be set up") as raised:
        place.run("open('ran', 'w')", readable=[Path("/proc/uptime")])
    assert "doctor" in str(raised.value)
    assert list(place.folder.iterdir()) == []


def test_protections_are_said() -> None:
    said = sandbox.protections()
    assert "CPU time, data and file size are limited" in said
    if "namespaces" in sandbox.working_layers():
        assert "no network" in said


def _running(folder: str) -> list[int]:
    """The processes whose working directory is this folder."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/cwd") == folder:
                    found.append(int(name))
            except OSError:
                continue
    return found


def _until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
