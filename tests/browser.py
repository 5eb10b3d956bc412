"""A headless Chromium over its DevTools pipe, for tests of pages: no driver, no socket, nothing to install but it."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in _NAMES if (path := shutil.which(name))), "")
_QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
          "--disable-background-networking", "--remote-debugging-pipe")  # fmt: skip


class Browser:
    """One browser with one page; what the page requests and reports is kept in `requests` and `errors`."""

    def __init__(self, profile: Path, patience_s: float = 120.0) -> None:
        self._patience_s, self._ids, self._buffer = patience_s, itertools.count(1), b""
        self.requests: list[str] = []
        self.errors: list[str] = []
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # The browser reads commands from its descriptor 3 and answers on 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]

        def place() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *_QUIET, f"--user-data-dir={profile}"], pass_fds=(3, 4), preexec_fn=place,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **words: Any) -> dict[str, Any]:
        """Call a method of the page."""
        return self._call(method, self._session, **words)

    def open(self, page: Path) -> None:
        """Open a file, and wait until it is loaded."""
        self.call("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + self._patience_s
        while not self.js(f"location.href === {json.dumps(page.as_uri())} && document.readyState === 'complete'"):
            assert time.monotonic() < deadline, "the page does not load"
            time.sleep(0.05)

    def js(self, expression: str) -> Any:
        """Evaluate an expression in the page, and return its value."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def look(self, width: int, theme: str = "light") -> None:
        """Make the window so many pixels wide, for somebody who prefers a theme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._to)
        os.close(self._from)

    def _call(self, method: str, session: str = "", **words: Any) -> dict[str, Any]:
        number = next(self._ids)
        sent = {"id": number, "method": method, "params": words} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(sent).encode() + b"\0")
        deadline = time.monotonic() + self._patience_s
        while True:
            found = self._message(deadline)
            self._note(found)
            if found.get("id") == number:
                assert "error" not in found, (method, found["error"])
                return found["result"]

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._from, 1 << 16) if ready else b""
            assert data, "the browser does not answer"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, found: dict[str, Any]) -> None:
        words, method = found.get("params", {}), found.get("method", "")
        if method == "Network.requestWillBeSent":
            self.requests.append(words["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(words["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and words["type"] in ("error", "warning", "assert"):
            self.errors.append(str(words["args"]))
        elif method == "Log.entryAdded" and words["entry"]["level"] in ("error", "warning"):
            self.errors.append(words["entry"]["text"])
