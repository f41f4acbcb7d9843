"""Headless Chromium, driven by real keys, clicks and touches over its DevTools pipe: nothing is
needed beside the distribution's chromium."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_KEYS = {"Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "Tab": ("Tab", 9, "")}


def chromium() -> str:
    """The program; a test that needs it is skipped where it is missing, and says so."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("NOT TESTED: the ranking page in a browser; install the package chromium")
    return found


class Browser:
    """One process; each `page` is a person with cookies and storage of their own."""

    def __init__(self, profile: Path) -> None:
        to_browser, ours = os.pipe()
        theirs, from_browser = os.pipe()
        os.set_inheritable(to_browser, True)
        os.set_inheritable(from_browser, True)
        # the pipe's ends must be the descriptors 3 and 4
        shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        flags = (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--remote-debugging-pipe", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
            f"--user-data-dir={profile}", "about:blank",
        )  # fmt: skip
        self._process = subprocess.Popen(
            ["bash", "-c", shell, chromium(), *flags],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._write, self._read = os.fdopen(ours, "wb", 0), os.fdopen(theirs, "rb")
        self._count = 0

    def close(self) -> None:
        self.call("Browser.close")
        self._process.wait(10)

    def page(self, width: int = 1200, height: int = 800, phone: bool = False) -> "Page":
        """A window of somebody new."""
        person = self.call("Target.createBrowserContext")["browserContextId"]
        return self.tab(person, width, height, phone)

    def tab(self, person: str, width: int = 1200, height: int = 800, phone: bool = False) -> "Page":
        """One more window of a person."""
        target = self.call("Target.createTarget", url="about:blank", browserContextId=person)
        name = target["targetId"]
        session = self.call("Target.attachToTarget", targetId=name, flatten=True)["sessionId"]
        return Page(self, person, session, (width, height), phone)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events in between are passed over."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        self._write.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _message(self) -> bytes:
        found = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser has ended"
            found += byte
        return bytes(found)


class Page:
    """A window."""

    def __init__(
        self, browser: Browser, person: str, session: str, size: tuple[int, int], phone: bool
    ) -> None:
        self.browser, self.person, self._session = browser, person, session
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Load a page and wait for its script."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self) -> None:
        self.value("window.before = true")
        self.call("Page.reload")
        self.until("!window.before && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Of a JavaScript expression. Tests look with it; they act with keys and pointers."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        return self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def until(self, condition: str, seconds: float = 15) -> None:
        asked = f"(() => {{ try {{ return Boolean({condition}) }} catch {{ return false }} }})()"
        wait(lambda: self.value(asked), condition, seconds)

    def keys(self, *names: str) -> None:
        for name in names:
            key, code, text = _KEYS.get(name) or (name, ord(name.upper()), name)
            event = {"key": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
            self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def strange_key(self, key: str, code: str) -> None:
        """A key of another keyboard: what it writes, and where it is."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=code, text=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def click(self, selector: str, touch: bool = False) -> None:
        """On the middle of an element, where whatever lies on top is hit."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        if touch:
            self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
            self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def screenshot(self, file: Path) -> None:
        found = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(found["data"]))

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader tells."""
        found = self.call("Accessibility.getFullAXTree")["nodes"]
        told = [node for node in found if not node["ignored"]]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in told]


def wait(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    """Until it holds; an assertion fails after so long."""
    end = time.monotonic() + seconds
    while not _holds(condition):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except AssertionError as error:  # a page that is just being replaced
        if "context" in str(error) or "Inspected target navigated" in str(error):
            return False
        raise
