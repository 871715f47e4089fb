# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Chromium without a window, spoken to through a pipe in its own protocol.

Knows what the page said on the console and what it tried to load.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Optional

from ansible_collections.vdisk.parallels.tests.support.sockets import short_folder

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell")
_SECONDS = "600"


def find_chromium() -> Optional[str]:
    """The program, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One page in one browser.

    ``complaints`` are what the page said on the console, ``requests`` the addresses that it asked for.
    """

    def __init__(self, program: str) -> None:
        self.complaints: List[str] = []
        self.requests: List[str] = []
        self._left = ExitStack()
        # It holds the profile and, as the place for temporary files, the socket that keeps a second browser out.
        self._folder = self._left.enter_context(short_folder())
        self._number = 0
        self._session: Optional[str] = None
        self._answers: Dict[int, Any] = {}
        self._events: List[str] = []
        self._rest = b""
        self._start(program)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _start(self, program: str) -> None:
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
        ]
        # The browser reads from descriptor 3 and writes to 4; a shell can put them there.
        line = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["timeout", _SECONDS, "bash", "-c", line, program, *options, f"--user-data-dir={self._folder}"],
            pass_fds=(commands, answers),
            env={**os.environ, "TMPDIR": self._folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)

    def close(self) -> None:
        """End the browser and remove what it left."""
        os.close(self._to)
        os.close(self._from)
        self._process.terminate()
        self._process.wait()
        self._left.close()

    def call(self, method: str, **params: Any) -> Dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        message: Dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while self._number not in self._answers:
            self._take(self._read())
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        found: Dict[str, Any] = answer["result"]
        return found

    def _read(self) -> Dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._from, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._rest += piece
        data, _zero, self._rest = self._rest.partition(b"\0")
        message: Dict[str, Any] = json.loads(data)
        return message

    def _take(self, message: Dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        method, params = message["method"], message.get("params", {})
        self._events.append(method)
        if method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(str(params["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {params['message']}")

    def look(self, *, width: int, height: int = 900, dark: bool = False, media: str = "screen") -> None:
        """Set the size of the window, and light, dark or paper."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def open(self, path: str) -> None:
        """Load a file and wait until it is there."""
        self._events.clear()
        self.call("Page.navigate", url=Path(path).as_uri())
        while "Page.loadEventFired" not in self._events:
            self._take(self._read())

    def evaluate(self, expression: str, *, wait: bool = False) -> Any:
        """The value of an expression in the page; ``wait`` for what a promise gives."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=wait)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press Enter or Space, as a hand on a keyboard does."""
        code, text = {"Enter": (13, "\r"), "Space": (32, " ")}[key]
        name = {"Enter": "Enter", "Space": " "}[key]
        for kind in ("keyDown", "keyUp"):
            told = {"text": text} if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=key, windowsVirtualKeyCode=code, **told)

    def screenshot(self, path: str, *, whole: bool = True) -> None:
        """A picture of the page."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as stream:
            stream.write(base64.b64decode(picture["data"]))

    def printed(self) -> bytes:
        """The page as PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])
