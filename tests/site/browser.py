"""Chromium without a window, at the width of a phone or a desk, on light or dark pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SCREENSHOTS = Path(__file__).parents[2] / "target" / "screenshots"
# Width and height of the page in pixels.
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
PATIENCE = 60.0

# Relative luminance and contrast as WCAG 2 defines them, of an element's text on what is behind.
CONTRAST = """
const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const over = (top, below) => {
    const alpha = top.length > 3 ? top[3] : 1;
    return below.map((value, i) => alpha * top[i] + (1 - alpha) * value);
};
const behind = (element) => {
    if (element === null) return PAPER;
    const colour = parse(getComputedStyle(element).backgroundColor);
    return over(colour.length ? colour : [0, 0, 0, 0], behind(element.parentElement));
};
const PAPER = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
const element = arguments[0];
const paper = behind(element);
const ink = over(parse(getComputedStyle(element).color), paper);
const [low, high] = [luminance(ink), luminance(paper)].sort((a, b) => a - b);
return (high + 0.05) / (low + 0.05);
"""

# Pictures that are shown but did not load, after those below the screen were asked for.
BROKEN = """
const shown = [...document.images].filter((image) => image.offsetParent !== null);
return shown.filter((image) => image.naturalWidth === 0).map((image) => image.src);
"""


class Browser:
    """A browser that is closed at the end of a `with` block."""

    def __init__(self, chromium: str, driver: str) -> None:
        options = Options()
        options.binary_location = chromium
        # Root needs the first; the memory that the second spares is small in containers.
        for argument in ("--no-sandbox", "--disable-dev-shm-usage", "--headless=new"):
            options.add_argument(argument)
        # Nothing is looked up but what the pages ask for.
        options.add_argument("--disable-background-networking")
        options.add_argument("--hide-scrollbars")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_page_load_timeout(10 * PATIENCE)
        self.width = 0

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def open(self, address: str, *, size: str, scheme: str) -> None:
        """Open a page, at a size of `SIZES`, for a reader who prefers `light` or `dark`."""
        self.width, height = SIZES[size]
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=self.width,
            height=height,
            deviceScaleFactor=1,
            mobile=size == "phone",
        )
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[preference])
        self.complaints()
        self.driver.get("about:blank")
        # A choice of colours by an earlier test is no preference of this reader.
        self.command("Storage.clearDataForOrigin", origin=address, storageTypes="local_storage")
        self.driver.get(address)
        self.wait(lambda: self.run("return document.readyState") == "complete")

    def command(self, name: str, **arguments: Any) -> Any:
        """A command of Chromium's developer tools."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, ready: Callable[[], Any]) -> Any:
        """Wait for something to be true; its value."""
        end = time.monotonic() + PATIENCE
        while not (value := ready()):
            assert time.monotonic() < end, "waited for too long"
            time.sleep(0.05)
        return value

    def complaints(self) -> list[str]:
        """Errors and warnings since the last call: of scripts, and of what could not be loaded."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in {"WARNING", "SEVERE"}]

    def broken_images(self) -> list[str]:
        """The addresses of pictures that did not load."""
        self.run("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
        self.wait(lambda: self.run("return [...document.images].every((one) => one.complete)"))
        found: list[str] = self.run(BROKEN)
        return found

    def overflow(self) -> int:
        """Pixels by which the page is wider than the screen, to which a phone would shrink it."""
        wide: int = self.run("return Math.max(innerWidth, document.documentElement.scrollWidth)")
        return wide - self.width

    def contrast(self, selector: str) -> float:
        """The contrast of the text of the first element of a selector, from 1 to 21."""
        element = self.run("return document.querySelector(arguments[0])", selector)
        assert element is not None, selector
        return float(self.run(CONTRAST, element))

    def screenshot(self, name: str, *, whole: bool = False) -> Path:
        """Keep a picture of the screen, or of the whole page, in `target/screenshots`."""
        import base64

        height = min(4000, self.run("return document.documentElement.scrollHeight"))
        width = self.run("return innerWidth")
        clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        found = self.command(
            "Page.captureScreenshot", captureBeyondViewport=whole, **(clip if whole else {})
        )
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(found["data"]))
        return path
