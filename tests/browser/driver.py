"""A chromium without a window, driven over WebDriver's own protocol: nothing but the standard library is needed."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_START_LIMIT = 30
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key by which WebDriver (W3C) names an element


class Browser:
    """One browser with one window. Close it."""

    def __init__(self, driver: str, chromium: str, profile: Path) -> None:
        command = [driver, "--port=0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._base = f"http://127.0.0.1:{self._port()}"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]
        chrome = {"binary": chromium, "args": arguments}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": chrome}}}
        self._session = f"{self._base}/session/{self._call('POST', f'{self._base}/session', wanted)['sessionId']}"

    def open(self, address: str) -> None:
        """Load an address and wait for it."""
        self._post("url", url=address)

    @property
    def address(self) -> str:
        """Where the window is."""
        return str(self._call("GET", f"{self._session}/url"))

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page this many CSS pixels, also fewer than a window may have."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """Let the page believe that its reader prefers `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._devtools("Emulation.setEmulatedMedia", {"features": features})

    def script(self, source: str, *arguments: Any) -> Any:
        """Run a function body in the page and return its value; a promise is waited for."""
        ended = "then(done, (error) => done(String(error)))"
        body = f"const done = arguments[arguments.length - 1]; (async () => {{ {source} }})().{ended};"
        return self._post("execute/async", script=body, args=list(arguments))

    def click(self, selector: str) -> None:
        """Click the first element of a CSS selector, as a person would."""
        self._post(f"element/{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Type into the first element of a CSS selector."""
        self._post(f"element/{self._element(selector)}/value", text=text)

    def picture(self) -> bytes:
        """The visible part of the page as PNG."""
        return base64.b64decode(self._call("GET", f"{self._session}/screenshot"))

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            self._call("DELETE", self._session)
        finally:
            self._process.terminate()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _element(self, selector: str) -> str:
        return str(self._post("element", using="css selector", value=selector)[_ELEMENT])

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        self._post("goog/cdp/execute", cmd=command, params=parameters)

    def _post(self, path: str, **data: Any) -> Any:
        return self._call("POST", f"{self._session}/{path}", data)

    def _call(self, method: str, address: str, data: dict[str, Any] | None = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {address}: {error.read().decode(errors='replace')[:500]}") from None

    def _port(self) -> int:
        """The port that the driver chose, from what it prints."""
        assert self._process.stdout is not None
        deadline, printed = time.monotonic() + _START_LIMIT, ""
        while time.monotonic() < deadline:
            line = self._process.stdout.readline()
            printed += line
            found = re.search(r"successfully on port (\d+)", line)
            if found:
                return int(found.group(1))
            if not line:
                break
        raise RuntimeError(f"chromedriver did not start: {printed}")
