"""The page in headless Chromium: from the dropped file to the downloaded, proven model.

With ``SMCONVERT_SCREENSHOTS=docs/images`` it takes the screenshots of the docs.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import onnxruntime
import pytest
from chromium import PROGRAM, Page
from running import IRIS, Server

from case import DATA
from smconvert.service import tokens
from smconvert.service.database import open_database
from smconvert.service.settings import Quota, Settings

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")

SHOTS = os.environ.get("SMCONVERT_SCREENSHOTS")
SHOWN = "!document.getElementById('{}').hidden"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("service"), "--open", workers=1) as started:
        yield started


@pytest.fixture
def page(server: Server, tmp_path: Path) -> Iterator[Page]:
    with Page(tmp_path / "chromium") as opened:
        opened.open(f"{server.url}/")
        opened.until(SHOWN.format("work"))
        yield opened


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(Path(SHOTS) / f"{name}.png")


def tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        page.press("Tab")
        if page.focused().startswith(name):
            return
    raise AssertionError(f"no way to {name!r} by Tab, but to {page.focused()!r}")


def test_from_the_file_to_the_proven_model_by_keyboard(page: Page, tmp_path: Path) -> None:
    shoot(page, "service-start")
    archive = tmp_path / "iris.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(IRIS, "iris")
    page.choose_files("#file", archive)
    page.until(SHOWN.format("target"))
    assert page.focused().endswith("What it is"), "the next thing to read has the focus"
    told = page.text()
    assert "TensorFlow 1.15.5" in told
    assert "Signature predict" in told
    assert page.nameless() == []
    shoot(page, "service-model")
    tab_to(page, "ONNX")
    tab_to(page, "Convert")
    page.press("Enter", "\r")
    page.until("document.querySelector('#outcome .notice')", 240)
    assert "The result computes what the source computes" in page.text()
    assert "predict/probabilities" in page.text()
    assert page.focused().endswith("Result")
    tab_to(page, "Download iris.onnx")
    link = page.evaluate("document.activeElement.href")
    model = httpx.get(link).content
    assert onnxruntime.InferenceSession(model).get_outputs()[-1].name == "probabilities"
    page.evaluate("document.querySelector('details.report').open = true")
    page.until("document.querySelector('details.report iframe').src")
    assert "default-src 'none'" in httpx.get(link.replace("/result", "/report")).headers[
        "Content-Security-Policy"
    ]  # fmt: skip
    page.until("document.querySelector('#jobs .done')")
    assert page.nameless() == []
    assert page.errors == []
    shoot(page, "service-result")


@pytest.mark.slow
def test_a_graph_whose_outputs_nobody_remembers(page: Page, tmp_path: Path) -> None:
    page.choose_files("#file", DATA / "tf1" / "ambiguous" / "graph.pb")
    page.until("document.querySelector('#outputs .candidate')")
    page.dark()
    shoot(page, "service-candidates")
    chosen = "[...document.querySelectorAll('#outputs [type=checkbox]')]"
    count = page.evaluate(f"{chosen}.length")
    assert count > 1
    page.evaluate(f"{chosen}.forEach((box, at) => {{ box.checked = at === 0 }})")
    page.evaluate(
        "document.querySelector('#outputs .candidate input:not([type])').value = 'answer'"
    )
    page.evaluate("document.querySelector('[value=graphdef]').click()")
    page.evaluate("document.getElementById('convert').click()")
    page.until("document.querySelector('#outcome .notice')", 240)
    assert "serving_default/answer" in page.text()
    page.resize(390, 800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shoot(page, "service-phone")


def test_what_is_no_model_is_told_in_words(page: Page, tmp_path: Path) -> None:
    wrong = tmp_path / "notes.pb"
    wrong.write_text("no model <script>alert(1)</script>")
    page.choose_files("#file", wrong)
    page.until("document.querySelector('#problem .bad')")
    assert "notes.pb is damaged or not a GraphDef in text form" in page.text()


def test_a_dropped_folder_becomes_an_archive(page: Page) -> None:
    """What the page packs is read by the standard library, long names included."""
    names = ["model/saved_model.pb", "model/" + "v" * 120 + "/ü.index"]
    packed = page.evaluate(
        f"""(async () => {{
          const {{ tar }} = await import('/page/tar.js');
          const files = {names}.map((path) => ({{ path, file: new Blob(['of ' + path]) }}));
          return [...new Uint8Array(await tar(files).arrayBuffer())];
        }})()"""
    )
    with tarfile.open(fileobj=io.BytesIO(bytes(packed))) as archive:
        assert archive.getnames() == names
        for name in names:
            member = archive.extractfile(name)
            assert member is not None
            assert member.read().decode() == f"of {name}"


def test_who_has_a_token_signs_in(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    token = tokens.create(open_database(Settings(folder=folder / "state")), "alice", Quota())
    with Server(folder, workers=0) as server, Page(tmp_path / "chromium") as page:
        page.open(f"{server.url}/")
        page.until(SHOWN.format("token-part"))
        assert page.focused() == "Your token"
        page.call("Input.insertText", text="smc_wrong")
        page.press("Enter", "\r")
        page.until("document.querySelector('#problem .bad')")
        assert "the token is not known, or was revoked" in page.text()
        page.evaluate(f"document.getElementById('token').value = '{token}'")
        page.press("Enter", "\r")
        page.until(SHOWN.format("work"))
        assert page.evaluate("document.cookie") == "", "no script reads the token"
        page.evaluate("document.getElementById('leave').click()")
        page.until(SHOWN.format("token-part"))
