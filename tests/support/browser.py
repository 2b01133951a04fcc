"""A real Chromium, driven as a person would: pages, widths, logins, what its console says."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.support.eventually import eventually
from tests.support.node_projects import MUST_RUN

DESKTOP = (1280, 900)
PHONE = (390, 844)
ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "screenshots"
_MISSING = (
    "drives a real browser, and {} is not installed; on Debian or Ubuntu:"
    " apt-get install --no-install-recommends chromium chromium-driver fonts-dejavu-core"
)

_FAINT = """
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (c) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
const ground = (e) => {
  const own = parts(getComputedStyle(e).backgroundColor);
  return own[3] === 0 && e.parentElement ? ground(e.parentElement) : own;
};
const ratio = (colour, e) => {
  const [low, high] = [light(parts(colour)), light(ground(e))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const faint = new Set();
for (const e of document.querySelectorAll("body :not(svg, svg *, .hidden)")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (own && ratio(getComputedStyle(e).color, e) < 4.5) faint.add(e.textContent.trim());
  if (e.placeholder && ratio(getComputedStyle(e, "::placeholder").color, e) < 4.5)
    faint.add(e.placeholder);
}
return [...faint];
"""
_BROKEN = """
const broken = [], range = document.createRange();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode;
  if (text.parentElement.closest(".said, .own, .id, .lead, dd, code")) continue;
  for (const word of text.data.matchAll(/[a-z]{3,14}(?![\\w-])/gi)) {
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    if (new Set([...range.getClientRects()].map((r) => Math.round(r.top))).size > 1)
      broken.push(word[0]);
  }
}
return broken;
"""
_NAMELESS = """
const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length;
const controls = [...document.querySelectorAll("a, button, input:not([type=hidden]), th")];
const levels = [...document.querySelectorAll("h1, h2, h3")].map((h) => Number(h.tagName[1]));
const skipped = levels.some((level, n) => level > (levels[n - 1] ?? 0) + 1);
return [
  ...controls.filter((e) => !named(e)).map((e) => e.outerHTML),
  ...(skipped || levels.filter((level) => level === 1).length !== 1 ? [`headings: ${levels}`] : []),
];
"""


class Browser:
    """One window; `origin` is where its relative addresses begin."""

    def __init__(self, driver: webdriver.Chrome, origin: str = "") -> None:
        self.driver = driver
        self.origin = origin

    def log_in(self, login: str) -> None:
        """Return every question for a login with user:password, from now on."""
        encoded = base64.b64encode(login.encode()).decode()
        self._devtools("Network.enable")
        self._devtools("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {encoded}"})

    def resize(self, size: tuple[int, int]) -> None:
        """Look at pages as a window of this width and height does; a phone is narrower than any."""
        width, height = size
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def allow_scripts(self, *, allowed: bool) -> None:
        """Whether pages may run any script of theirs."""
        self._devtools("Emulation.setScriptExecutionDisabled", value=not allowed)

    def prefer(self, scheme: str) -> None:
        """Ask for `light` or `dark` pages."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._devtools("Emulation.setEmulatedMedia", features=[feature])

    def open(self, path: str) -> str:
        """Load a page; returns its text."""
        self.driver.get(self.origin + path)
        return self.text()

    def address(self) -> str:
        """Where it is."""
        return self.driver.current_url

    def text(self) -> str:
        """What a person reads there."""
        return self._text_of("body")

    def wait_for(self, text: str, *, within: float = 20) -> str:
        """Wait until the page says so; returns all it says."""
        eventually(lambda: text in self.text(), within=within, because=f"the page says {text!r}")
        return self.text()

    def wait_for_change(self, gone: str, shown: str, *, within: float = 20) -> str:
        """Wait until the page's table says `shown`, and `gone` no more; returns what it says."""

        def said() -> str | None:
            text = self._text_of("tbody")
            return text if shown in text and gone not in text else None

        return eventually(said, within=within, because=f"it says {shown!r}, not {gone!r}")

    def status(self) -> int:
        """The page's HTTP status."""
        return int(
            self.driver.execute_script(
                "return performance.getEntriesByType('navigation')[0].responseStatus"
            )
        )

    def wait_for_path(self, path: str) -> str:
        """Wait until the browser is there; returns the page's text."""
        address = self.origin + path
        eventually(
            lambda: self.driver.current_url == address, because=f"the browser is at {address}"
        )
        return self.text()

    def type_into(self, selector: str, text: str) -> None:
        """Empty a field and type into it."""
        field = self.driver.find_element(By.CSS_SELECTOR, selector)
        field.clear()
        field.send_keys(text)

    def click(self, selector: str) -> None:
        """Click what the selector finds first."""
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        wide, window = self.driver.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        return int(wide) - int(window)

    def faint(self) -> list[str]:
        """Texts that differ from their ground by less than WCAG's 4.5 to 1."""
        return list(self.driver.execute_script(_FAINT))

    def broken_words(self) -> list[str]:
        """Ordinary words of ours of which a part stands on another line."""
        return list(self.driver.execute_script(_BROKEN))

    def nameless(self) -> list[str]:
        """Controls and columns without a name, and headings that skip a level."""
        return list(self.driver.execute_script(_NAMELESS))

    def script_ran(self) -> bool:
        """Whether something that was to be shown was run."""
        try:
            return bool(self.driver.execute_script("return window.injected === true"))
        except JavascriptException:
            return False

    def complaints(self) -> list[str]:
        """What the browser's console said since the last time: errors, refused resources."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def screenshot(self, name: str, *, whole: bool = True) -> Path:
        """Keep a picture of the whole page, or of the window, among the artefacts."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        file = ARTIFACTS / f"{name}.png"
        shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))
        return file

    def _text_of(self, tag: str) -> str:
        try:
            return self.driver.find_element(By.TAG_NAME, tag).text
        except StaleElementReferenceException:
            return ""  # another page is taking its place

    def _devtools(self, command: str, **parameters: Any) -> Any:  # noqa: ANN401 - the protocol's
        return self.driver.execute_cdp_cmd(command, parameters)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with nothing in it."""
    options = webdriver.ChromeOptions()
    options.binary_location = _installed("chromium")
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if os.geteuid() == 0:  # Chromium's own sandbox refuses root
        options.add_argument("--no-sandbox")
    # No call home: everything it may reach is on this machine.
    options.add_argument("--disable-background-networking")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_installed("chromedriver")))
    try:
        driver.set_page_load_timeout(30)
        opened = Browser(driver)
        opened.resize(DESKTOP)
        yield opened
    finally:
        driver.quit()


def _installed(name: str) -> str:
    """Where it is. Without it the test is skipped and says so; under .ci/run it fails."""
    found = shutil.which(name)
    if found is None:
        refuse = pytest.fail if os.environ.get(MUST_RUN) else pytest.skip
        refuse(_MISSING.format(name))
    return found
