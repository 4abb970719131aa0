"""Uploads: resumed after a break, refused when they do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from smconvert.service.app import create_app
from smconvert.service.settings import Quota, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        folder=tmp_path / "state",
        open=True,
        upload_bytes=1000,
        quota=Quota(active_jobs=2, stored_bytes=1500, requests_per_minute=100_000),
    )


@pytest.fixture
def http(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings, with_workers=False)) as client:
        yield client


def announce(http: httpx.Client, size: int, name: str = "model.pb", **more: str) -> httpx.Response:
    return http.post("/v1/uploads", json={"name": name, "size": size, **more})


def send(http: httpx.Client, upload: str, offset: int, content: bytes) -> httpx.Response:
    return http.patch(
        f"/v1/uploads/{upload}", content=content, headers={"Upload-Offset": str(offset)}
    )


def test_an_upload_goes_on_where_it_broke(http: TestClient, settings: Settings) -> None:
    upload = announce(http, 10).json()["id"]
    part = send(http, upload, 0, b"abcd")
    assert part.headers["Upload-Offset"] == "4"
    assert not part.json()["complete"]
    with TestClient(create_app(settings, with_workers=False)) as restarted:
        assert restarted.get(f"/v1/uploads/{upload}").json()["offset"] == 4
        assert send(restarted, upload, 4, b"efghij").json()["complete"]
    stored = settings.folder / "stored" / "uploads" / upload / "model.pb"
    assert stored.read_bytes() == b"abcdefghij"


def test_a_server_that_ended_before_it_noted_the_last_byte(
    http: TestClient, settings: Settings
) -> None:
    upload = announce(http, 3).json()["id"]
    part = settings.folder / "incoming" / upload
    part.write_bytes(b"abc")
    stored = settings.folder / "stored" / "uploads" / upload / "model.pb"
    stored.parent.mkdir(parents=True)
    part.rename(stored)
    assert http.get(f"/v1/uploads/{upload}").json()["complete"]


def test_a_wrong_offset_is_told_the_right_one(http: TestClient) -> None:
    upload = announce(http, 10).json()["id"]
    send(http, upload, 0, b"abcd")
    refused = send(http, upload, 2, b"cdef")
    assert refused.status_code == 409
    assert refused.headers["Upload-Offset"] == "4"
    assert refused.json()["message"] == "the next byte is 4, not 2"


def test_more_bytes_than_announced_are_refused(http: TestClient) -> None:
    upload = announce(http, 3).json()["id"]
    refused = send(http, upload, 0, b"abcd")
    assert refused.status_code == 413
    assert refused.json()["message"] == "more than the 3 bytes that were announced"
    assert send(http, upload, 0, b"abc").json()["complete"]


def test_a_damaged_upload_begins_anew(http: TestClient) -> None:
    digest = hashlib.sha256(b"abcd").hexdigest()
    upload = announce(http, 4, sha256=digest).json()["id"]
    refused = send(http, upload, 0, b"abXd")
    assert refused.status_code == 409
    assert "another SHA-256" in refused.json()["message"]
    assert send(http, upload, 0, b"abcd").json()["complete"]


def test_sizes_are_bounded(http: TestClient) -> None:
    refused = announce(http, 1001)
    assert refused.status_code == 413
    assert refused.json()["code"] == "too_large"
    assert "1,001 bytes are more than the 1,000" in refused.json()["message"]
    assert announce(http, 1000).status_code == 201
    refused = announce(http, 501)
    assert refused.status_code == 403
    assert refused.json()["code"] == "quota"
    assert "1,000 of 1,500 bytes are taken" in refused.json()["message"]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".hidden", "hidden"),
        ("a\x00b.pb", "a_b.pb"),
        ("...", "model"),
        ("ü" * 199, "ü" * 75),
        ("x" * 150 + "y" * 40 + ".pb", "x" * 107 + "y" * 40 + ".pb"),
    ],
)
def test_names_stay_names(http: TestClient, name: str, stored: str) -> None:
    assert announce(http, 0, name).json()["name"] == stored


def test_an_upload_can_be_deleted(http: TestClient, settings: Settings) -> None:
    upload = announce(http, 3).json()["id"]
    send(http, upload, 0, b"abc")
    assert http.delete(f"/v1/uploads/{upload}").status_code == 204
    assert http.get(f"/v1/uploads/{upload}").status_code == 404
    assert list((settings.folder / "stored" / "uploads").iterdir()) == []
