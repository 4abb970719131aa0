"""The service under load: ``python -m benchmarks.service``.

- *rate*: small models in a minute through the service, and by ``smconvert convert`` started for
  each, with as many at one time; the two take turns, so that what disturbs the machine disturbs
  both.
- *many*: uploads that all begin at once.
- *large*: one upload of 4 GiB, and the most memory that the server had meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from smconvert.provenance import provenance

DATA = Path(__file__).parents[2] / "tests" / "data"
MODEL = DATA / "tf1" / "iris_raw" / "export"
MIB = 1 << 20


@dataclass(frozen=True)
class Service:
    """A server that runs."""

    url: str
    process: psutil.Process


def main() -> None:
    """Runs the benchmark and writes ``results/service.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
    parser.add_argument("--only", choices=["rate", "many", "large"])
    parser.add_argument("--models", type=int, default=8, help="conversions of a round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=2, help="conversions at one time")
    parser.add_argument("--uploads", type=int, default=500)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/service.json"))
    asked = parser.parse_args()
    found = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "rate": lambda: rate(asked.models, asked.rounds, asked.at_once),
        "many": lambda: many(asked.uploads),
        "large": lambda: large(int(asked.gib * 1024) * MIB),
    }
    for name, measure in parts.items():
        if asked.only in (None, name):
            found[name] = measure()
            print(json.dumps({name: found[name]}, indent=2), flush=True)
            found["provenance"] = provenance()
            asked.out.write_text(json.dumps(found, indent=2) + "\n")


def rate(models: int, rounds: int, at_once: int) -> dict[str, Any]:
    """Conversions in a minute, both ways."""
    through, alone = [], []
    with _service("--workers", str(at_once)) as service, httpx.Client(base_url=service.url) as http:
        upload = _upload(http, _packed(), "iris.tar.gz")
        wanted = {"upload": upload, "target": "onnx"}
        _wait(http, [http.post("/v1/jobs", json=wanted).json()["id"] for _ in range(at_once)])
        for _ in range(rounds):
            start = time.monotonic()
            _wait(http, [http.post("/v1/jobs", json=wanted).json()["id"] for _ in range(models)])
            through.append(60 * models / (time.monotonic() - start))
            start = time.monotonic()
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(_convert, range(models)))
            alone.append(60 * models / (time.monotonic() - start))
    return {
        "model": "iris (TF 1.15 Estimator) to ONNX, checked",
        "at_once": at_once,
        "conversions": models * rounds,
        "service_per_minute": _rounded(through),
        "a_process_for_each_per_minute": _rounded(alone),
        "ratio": round(sum(through) / sum(alone), 2),
    }


def many(uploads: int, size: int = MIB) -> dict[str, Any]:
    """Uploads that all begin at once."""
    content = bytes(size)
    times: list[float] = []

    async def one(http: httpx.AsyncClient, number: int) -> None:
        start = time.monotonic()
        announced = await http.post("/v1/uploads", json={"name": f"{number}.pb", "size": size})
        place = f"/v1/uploads/{announced.json()['id']}"
        sent = await http.patch(place, content=content, headers={"Upload-Offset": "0"})
        assert sent.json()["complete"], sent.text
        times.append(time.monotonic() - start)

    async def all_of_them(url: str) -> None:
        limits = httpx.Limits(max_connections=uploads)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=600) as http:
            await asyncio.gather(*(one(http, number) for number in range(uploads)))

    with _service("--workers", "0") as service, _memory(service.process) as memory:
        start = time.monotonic()
        asyncio.run(all_of_them(service.url))
        took = time.monotonic() - start
    times.sort()
    return {
        "uploads": uploads,
        "bytes_each": size,
        "failed": uploads - len(times),
        "seconds": round(took, 1),
        "slowest_seconds": round(times[-1], 1),
        "median_seconds": round(times[len(times) // 2], 1),
        **memory,
    }


def large(size: int) -> dict[str, Any]:
    """One upload, in blocks that are made as they are sent."""
    block = bytes(range(256)) * (MIB // 256)

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(size // MIB):
            yield block

    async def send(url: str, place: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=url, timeout=600) as http:
            return await http.patch(place, content=blocks(), headers={"Upload-Offset": "0"})

    with _service("--workers", "0") as service, _memory(service.process) as memory:
        announced = httpx.post(f"{service.url}/v1/uploads", json={"name": "m.pb", "size": size})
        place = f"/v1/uploads/{announced.json()['id']}"
        start = time.monotonic()
        sent = asyncio.run(send(service.url, place))
        assert sent.json()["complete"], sent.text
        took = time.monotonic() - start
    return {
        "bytes": size,
        "seconds": round(took, 1),
        "mib_per_second": round(size / MIB / took),
        **memory,
    }


@contextmanager
def _service(*flags: str) -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="smconvert-") as folder:
        log = Path(folder) / "log"
        with log.open("w") as written:
            popen = subprocess.Popen(
                [sys.executable, "-m", "smconvert.cli.main", "serve", "--open", "--port", "0",
                 "--folder", f"{folder}/state", *flags],
                stderr=written,
            )  # fmt: skip
        try:
            while not (found := re.search(r"listening on (http://\S+)", log.read_text())):
                assert popen.poll() is None, log.read_text()
                time.sleep(0.1)
            yield Service(found[1], psutil.Process(popen.pid))
        finally:
            popen.terminate()
            popen.wait()


@contextmanager
def _memory(process: psutil.Process) -> Iterator[dict[str, Any]]:
    """What the server had before, and the most that it had meanwhile, in MiB."""
    time.sleep(1)
    before = process.memory_info().rss
    told: dict[str, Any] = {"memory_before_mib": before // MIB}
    over = threading.Event()
    most = [before]

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join()
        told["memory_most_mib"] = most[0] // MIB


def _packed() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(MODEL, MODEL.name)
    return buffer.getvalue()


def _upload(http: httpx.Client, content: bytes, name: str) -> str:
    announced = http.post("/v1/uploads", json={"name": name, "size": len(content)}).json()
    http.patch(f"/v1/uploads/{announced['id']}", content=content, headers={"Upload-Offset": "0"})
    return str(announced["id"])


def _wait(http: httpx.Client, jobs: list[str]) -> None:
    for job in jobs:
        while (found := http.get(f"/v1/jobs/{job}").json())["ended"] is None:
            time.sleep(0.1)
        assert found["state"] == "done", found["error"]


def _convert(number: int) -> None:
    with tempfile.TemporaryDirectory(prefix="smconvert-") as folder:
        subprocess.run(
            [sys.executable, "-m", "smconvert.cli.main", "convert", str(MODEL), f"{folder}/m.onnx"],
            check=True,
            capture_output=True,
        )


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 2) for value in values]


if __name__ == "__main__":
    main()
