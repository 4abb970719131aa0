"""Served models, run and compared by their URLs, against a server of our own (model_server)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("tensorflow_serving", reason="needs smconvert[serving]")

import smconvert as sm
from case import DATA, close, load_case
from model_server import Urls, serving
from smconvert.runtimes.workers import Workers
from smconvert.served.address import Address, address

IRIS = load_case(DATA / "tf1" / "iris_raw" / "case.json")
PARSING = load_case(DATA / "tf1" / "iris_parsing" / "case.json")
SOLE = DATA / "tf1" / "simple_save_resource" / "case.json"


@pytest.fixture(scope="module")
def iris() -> Iterator[Urls]:
    with serving(sm.detect(IRIS.source).path) as urls:
        yield urls


@pytest.fixture(scope="module")
def parsing() -> Iterator[Urls]:
    with serving(sm.detect(PARSING.source).path) as urls:
        yield urls


@pytest.fixture(scope="module")
def sole() -> Iterator[Urls]:
    with serving(sm.detect(load_case(SOLE).source).path) as urls:
        yield urls


@pytest.mark.parametrize("way", ["rest", "grpc"])
@pytest.mark.parametrize("version", ["", "/versions/7", "/labels/stable"])
def test_run_gives_what_the_model_gives(
    way: str, version: str, iris: Urls, workers: Workers
) -> None:
    for name, calls in IRIS.signatures.items():
        for call in calls:
            outputs = sm.run(
                getattr(iris, way) + version,
                call.inputs,
                sm.SourceOptions(signatures=(name,)),
                workers=workers,
            )
            assert outputs.keys() == call.outputs.keys()
            for output, expected in call.outputs.items():
                assert close(outputs[output], expected)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_examples_travel_as_bytes(way: str, parsing: Urls, workers: Workers) -> None:
    for name, calls in PARSING.signatures.items():
        options = sm.SourceOptions(signatures=(name,))
        outputs = sm.run(getattr(parsing, way), calls[0].inputs, options, workers=workers)
        for output, expected in calls[0].outputs.items():
            assert close(outputs[output], expected)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_one_input_and_one_output(way: str, sole: Urls, workers: Workers) -> None:
    case = load_case(SOLE)
    ((name, calls),) = case.signatures.items()
    for call in calls:
        outputs = sm.run(getattr(sole, way), call.inputs, workers=workers)
        for output, expected in call.outputs.items():
            assert close(outputs[output], expected)
    assert sm.inspect(getattr(sole, way)).signatures[0].name == name


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_inspect_shows_the_servers_signatures(way: str, iris: Urls) -> None:
    served = {s.name: s for s in sm.inspect(getattr(iris, way)).signatures}
    file = {s.name: s for s in sm.inspect(IRIS.source).signatures}
    assert served.keys() == file.keys()
    for name, signature in file.items():
        assert [str(i) for i in served[name].inputs] == [str(i) for i in signature.inputs]
        assert [str(o) for o in served[name].outputs] == [str(o) for o in signature.outputs]


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "smconvert.cli.main", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True)


FEEDS = {"SepalLength": 5.1, "SepalWidth": 3.3, "PetalLength": 1.7, "PetalWidth": 0.5}


def test_run_by_url_on_the_command_line(iris: Urls) -> None:
    words = [f"--input-exprs={name}=[[{value}]]" for name, value in FEEDS.items()]
    told = command("run", "--url", iris.rest, "--signature", "predict", "--json", *words)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["class_ids"] == [[0]]


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_compare_a_file_with_what_is_served(way: str, iris: Urls, workers: Workers) -> None:
    options = sm.SourceOptions(signatures=("predict",))
    found = sm.compare(
        IRIS.source,
        getattr(iris, way),
        first_options=options,
        second_options=options,
        workers=workers,
    )
    assert found.verdict is sm.Verdict.PASSED
    (matrix,) = found.matrices
    (column,) = matrix.columns
    assert str(column.contender) == "B on served:cpu"
    assert ("empty batch" in {c.label for c in matrix.calls}) == (way == "grpc")


@pytest.mark.slow
def test_compare_by_url_on_the_command_line(iris: Urls, tmp_path: Path) -> None:
    report = tmp_path / "parity.json"
    for url in (iris.rest, iris.grpc):
        told = command("compare", IRIS.source, url, "--signature", "predict", "--report", report)
        assert told.returncode == 0, told.stdout + told.stderr
        report.unlink()


def test_compare_tells_a_server_that_serves_another_model(
    iris: Urls, workers: Workers, tmp_path: Path
) -> None:
    for factor, name in ((2.0, "old"), (3.0, "new")):
        module = tf.Module()
        module.scale = tf.function(
            lambda x, factor=factor: {"y": x * factor},
            input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")],
        )
        tf.saved_model.save(module, str(tmp_path / name), signatures={"scale": module.scale})
    with serving(tmp_path / "old") as urls:
        same = sm.compare(tmp_path / "old", urls.rest, workers=workers)
        other = sm.compare(tmp_path / "new", urls.grpc, workers=workers)
    assert same.verdict is sm.Verdict.PASSED
    assert other.verdict is sm.Verdict.FAILED


def test_values_that_json_has_no_numbers_for(sole: Urls, workers: Workers, tmp_path: Path) -> None:
    module = tf.Module()
    module.serve = tf.function(
        lambda x, s: {"y": x + 1.0, "t": tf.strings.join([s, "!"]), "raw_bytes": s + "\xff"},
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([None], tf.string, name="s"),
        ],
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.serve)
    feeds = {
        "x": np.array([np.nan, np.inf, -np.inf], np.float32),
        "s": np.array([b"a", "größe".encode(), b""], object),
    }
    with serving(tmp_path / "m") as urls:
        for url in (urls.rest, urls.grpc):
            outputs = sm.run(url, feeds, workers=workers)
            np.testing.assert_array_equal(outputs["y"], feeds["x"])
            assert outputs["t"].tolist() == [b"a!", "größe!".encode(), b"!"]
            assert outputs["raw_bytes"].tolist() == [v + "\xff".encode() for v in feeds["s"]]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8501/v1/models/m", Address("http", "http://h:8501", "m")),
        ("http://h:8501/v1/models/m:predict", Address("http", "http://h:8501", "m")),
        ("https://h/a/b/v1/models/m/versions/3", Address("https", "https://h/a/b", "m", 3)),
        ("grpc://h:8500/m", Address("grpc", "h:8500", "m")),
        ("grpcs://h:8500/m/labels/new", Address("grpcs", "h:8500", "m", label="new")),
    ],
)
def test_addresses(url: str, expected: Address) -> None:
    assert address(url) == expected
    assert address(str(expected)) == expected


@pytest.mark.parametrize(
    "url", ["http://h:8501/models/m", "http://h:8501", "grpc://h/m", "grpc://h:8500"]
)
def test_other_urls_are_refused_in_words(url: str) -> None:
    with pytest.raises(sm.UsageError, match=r"http://host:8501/v1/models/NAME or grpc://"):
        sm.inspect(url)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_model_that_is_not_served(way: str, iris: Urls) -> None:
    with pytest.raises(sm.SourceError, match="the server refuses") as error:
        sm.inspect(getattr(iris, way).replace("iris", "other"))
    assert "Servable not found" in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/v1/models/m", "grpc://127.0.0.1:9/m"], ids=["rest", "grpc"]
)
def test_a_server_that_does_not_answer(url: str) -> None:
    told = command("run", "--url", url, "--input-exprs", "x=[1]")
    assert told.returncode == 6
    assert "the server does not answer" in told.stderr


def test_a_server_of_another_kind(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"a": []}' if "json" in self.path else b"<html>")

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(sm.SourceError, match="answer is not JSON"):
            sm.inspect(f"{base}/v1/models/m")
        with pytest.raises(sm.SourceError, match="metadata are not understood"):
            sm.inspect(f"{base}/v1/models/json")
        server.shutdown()


def test_a_served_model_cannot_be_converted_from(iris: Urls, tmp_path: Path) -> None:
    with pytest.raises(sm.UsageError, match="not converted from"):
        sm.convert(iris.rest, tmp_path / "out.onnx")


def test_one_model_is_named(iris: Urls) -> None:
    for words in ([], [IRIS.source, "--url", iris.rest]):
        told = command("run", *words)
        assert told.returncode == 2
        assert "by its path or by --url" in told.stderr
