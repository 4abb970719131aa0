"""The state in PostgreSQL and the files in what fsspec reaches, with real workers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from running import Server, ask, packed, upload, wait

from smconvert.errors import UsageError
from smconvert.service.settings import Settings
from smconvert.service.storage import ObjectStorage, open_storage


def test_storage_of_a_kind_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the storage cannot be opened"):
        open_storage(Settings(folder=tmp_path, storage_url="nosuch://bucket"))


def test_objects_are_put_read_and_deleted(tmp_path: Path) -> None:
    storage = ObjectStorage("memory://bucket/prefix")
    file = tmp_path / "file"
    file.write_bytes(b"abc" * 500_000)
    storage.put(file, "jobs/1/result")
    assert not file.exists()
    assert storage.holds("jobs/1/result")
    assert b"".join(storage.blocks("jobs/1/result", 1)) == (b"abc" * 500_000)[1:]
    assert storage.local("jobs/1/result", tmp_path / "here").stat().st_size == 1_500_000
    storage.delete("jobs/1")
    storage.delete("jobs/1")
    assert not storage.holds("jobs/1/result")
    with pytest.raises(FileNotFoundError):
        storage.blocks("jobs/1/result")


@pytest.mark.slow
def test_a_killed_server_on_postgresql_and_objects(tmp_path: Path, postgresql_url: str) -> None:
    flags = [
        "--open",
        f"--database={postgresql_url}/postgres",
        f"--storage=file://{tmp_path}/objects",
    ]
    with Server(tmp_path / "one", *flags) as server, httpx.Client(base_url=server.url) as http:
        job = ask(http, {"upload": upload(http, packed()), "target": "onnx"})
        server.kill()
        server.start()
        found = wait(http, job)
        assert found["state"] == "done"
        result = http.get(f"/v1/jobs/{job}/result")
        assert len(result.content) == found["result"]["size"]
        assert result.headers["Content-Disposition"] == 'attachment; filename="iris.onnx"'
        assert (tmp_path / "objects" / "jobs" / job / "iris.onnx").exists()
        assert "passed" in http.get(f"/v1/jobs/{job}/report").text.lower()
        assert http.delete(f"/v1/jobs/{job}").status_code == 204
        assert not (tmp_path / "objects" / "jobs" / job).exists()
