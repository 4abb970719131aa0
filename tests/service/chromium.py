"""Headless Chromium, driven through the DevTools protocol over its pipe: no package is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")


class Page:
    """One page of a browser of its own."""

    def __init__(self, folder: Path, width: int = 1100, height: int = 900) -> None:
        self._folder = folder
        self._size = {"width": width, "height": height}
        self._count = 0
        self._pending = b""
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        theirs_in, self._requests = os.pipe()
        self._answers, theirs_out = os.pipe()

        def take_pipes() -> None:
            # They may not be closed before they are moved to where Chromium looks for them.
            os.dup2(theirs_in, 103)
            os.dup2(theirs_out, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe",
             f"--user-data-dir={self._folder}", "about:blank"],
            preexec_fn=take_pipes, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Accessibility", "Log"):
            self.call(f"{domain}.enable")
        self.resize(**self._size)
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            os.close(self._requests)
            os.close(self._answers)
        self._process.terminate()
        self._process.wait(20)

    def resize(self, width: int, height: int) -> None:
        self._size = {"width": width, "height": height}
        self._emulate(height)

    def _emulate(self, height: int) -> None:
        width = self._size["width"]
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def dark(self) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"{expression}\n{self.text()}\n{self.errors}"
            time.sleep(0.05)

    def text(self) -> str:
        return str(self.evaluate("document.body.innerText"))

    def choose_files(self, selector: str, *paths: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(p) for p in paths])

    def press(self, key: str, text: str = "") -> None:
        code = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}.get(key, 0)
        more = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code="Space" if key == " " else key,
                windowsVirtualKeyCode=code, **(more if kind == "keyDown" else {}),
            )  # fmt: skip

    def focused(self) -> str:
        """What the focused element is called, as a screen reader says it."""
        tree = self.call("Accessibility.getFullAXTree")["nodes"]
        for node in reversed(tree):
            for fact in node.get("properties", ()):
                if fact["name"] == "focused" and fact["value"]["value"]:
                    return str(node.get("name", {}).get("value", ""))
        return ""

    def nameless(self) -> list[str]:
        """Roles of things to operate that a screen reader has no name for."""
        operated = {"button", "link", "textbox", "checkbox", "radio", "progressbar", "spinbutton"}
        return [
            node["role"]["value"]
            for node in self.call("Accessibility.getFullAXTree")["nodes"]
            if not node.get("ignored")
            and node.get("role", {}).get("value") in operated
            and not node.get("name", {}).get("value")
        ]

    def screenshot(self, path: Path) -> None:
        """Of the whole page: a frame in it is drawn only where it can be seen."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        self._emulate(int(size["height"]))
        time.sleep(0.5)
        shot = self.call("Page.captureScreenshot", format="png")
        self._emulate(self._size["height"])
        path.write_bytes(base64.b64decode(shot["data"]))

    def call(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        request = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        os.write(self._requests, json.dumps(request).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._count:
                assert "error" not in told, (method, told)
                return told["result"]
            if told.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(told["params"]["exceptionDetails"]))
            if told.get("method") == "Log.entryAdded":
                self.errors.append(told["params"]["entry"]["text"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._answers], [], [], 60)
            assert ready, "Chromium does not answer"
            block = os.read(self._answers, 1 << 20)
            assert block, "Chromium has ended"
            self._pending += block
        message, _, self._pending = self._pending.partition(b"\0")
        return dict(json.loads(message))
