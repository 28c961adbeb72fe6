"""Debian's Chromium without a window, driven by selenium. `scripts/setup test` installs both."""

import contextlib
import os
import shutil

import pytest


@contextlib.contextmanager
def chromium():
    """A browser. Skips the test where Chromium or its driver is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("chromium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--window-size=1280,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(service=Service(driver), options=options)
    try:
        yield browser
    finally:
        browser.quit()


def keep_picture(browser, name):
    """Saves a screenshot if STAYD_SCREENSHOTS names a folder."""
    if folder := os.environ.get("STAYD_SCREENSHOTS"):
        browser.save_screenshot(os.path.join(folder, f"{name}.png"))
