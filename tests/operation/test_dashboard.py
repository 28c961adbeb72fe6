"""The dashboard, as a person sees and uses it, in Debian's Chromium without a window.

Skipped where Chromium or its driver is not installed: scripts/setup test installs them. With
STAYD_SCREENSHOTS=FOLDER in the environment, pictures are left there to be looked at.
"""

import re
import urllib.request

import pytest

from support import certificates
from support.chromium import chromium, keep_picture
from support.servers import ROOT, Stayd, wait_until

pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

WIDE, PHONE = (1280, 1400), (390, 844)
PATIENCE = 60.0
"""A browser on a busy machine."""


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def stayd():
    with Stayd(sessions={"memory": "16M", "item_max": "64K"}) as server:
        connection = server.connect("sessions")
        for number in range(200):
            connection.set(b"k%d" % number, b"v" * 500, expiry=1800 + 3600 * (number % 4))
        connection.get(b"k1")
        yield server


def leave(browser):
    """Leaves the page, whose daemon may have ended, and forgets what was reported of it."""
    browser.get("about:blank")
    browser.get_log("browser")


def look(browser, stayd, size=WIDE, scheme="light"):
    """Opens the page on a screen of this size, and waits for its pools."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size is PHONE})
    leave(browser)
    browser.get(stayd.admin_url() + "/")
    wait_until(lambda: len(browser.find_elements(By.CLASS_NAME, "pool")) == 2, PATIENCE)


def drawn(browser):
    """How many charts are drawn."""
    return len(browser.find_elements(By.CSS_SELECTOR, "figure canvas + canvas"))


def complaints(browser):
    """What the browser has reported: errors, and what the page's content policy has blocked."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def text(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector).text


def test_the_page_shows_each_pool_and_draws_it(browser, stayd):
    look(browser, stayd)
    assert text(browser, "#warnings") == "✓ All pools serve all requests."
    figures = text(browser, "#pool-sessions .figures")
    assert re.search(r"items\n200\n", figures) and re.search(r"hits\n100 %", figures)
    assert "of 15.9 M" in figures and "disk behind" in figures
    assert "evicted" in text(browser, "#pool-cache .figures")
    assert browser.title == "stayd"
    # ten seconds after the start there are two samples; then each chart of both pools is drawn
    wait_until(lambda: drawn(browser) == 8 + 7, PATIENCE, "the charts to be drawn")
    legend = text(browser, "#pool-sessions figure[aria-label='Memory'] .legend")
    assert re.match(r"live \d.* K\ndead .*\nfree 1\d\.\d M", legend)
    keep_picture(browser, "wide-light")
    assert complaints(browser) == []


def test_dark_where_the_system_is_dark(browser, stayd):
    page = "return getComputedStyle(document.body).backgroundColor"
    look(browser, stayd, scheme="light")
    light = browser.execute_script(page)
    look(browser, stayd, scheme="dark")
    assert browser.execute_script(page) != light
    wait_until(lambda: drawn(browser) == 15, PATIENCE)
    keep_picture(browser, "wide-dark")
    assert complaints(browser) == []


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, stayd):
    look(browser, stayd, PHONE)
    wait_until(lambda: drawn(browser) == 15, PATIENCE)
    widths = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1] == PHONE[0]
    keep_picture(browser, "phone")
    assert complaints(browser) == []


def test_all_can_be_done_with_the_keyboard(browser, stayd):
    look(browser, stayd)
    wait_until(lambda: drawn(browser) == 15, PATIENCE)
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("d")
    assert browser.find_element(By.CSS_SELECTOR, "input[value=day]").is_selected()
    body.send_keys("h")
    assert browser.find_element(By.CSS_SELECTOR, "input[value=hour]").is_selected()
    body.send_keys("n")
    assert browser.switch_to.active_element.get_attribute("id") == "pool-cache"
    browser.switch_to.active_element.send_keys("n")
    assert browser.switch_to.active_element.get_attribute("id") == "pool-sessions"
    chart = browser.find_element(By.CSS_SELECTOR, "#pool-sessions figure[aria-label^='Items']")
    browser.execute_script("arguments[0].focus()", chart)
    wait_until(lambda: chart.find_elements(By.TAG_NAME, "canvas"), PATIENCE)
    chart.send_keys(Keys.ARROW_LEFT)
    assert re.match(r"\d\d:\d\d(:\d\d)?\nitems 200", chart.find_element(By.CLASS_NAME, "legend").text)


def test_a_fault_is_on_top_with_its_remedy_and_goes_when_it_is_over(browser):
    with Stayd(sessions={"memory": "16M"}) as stayd:
        connection = stayd.connect("sessions")
        number = 0
        while connection.set(b"k%d" % number, b"v" * 100_000) == b"STORED":
            number += 1
        look(browser, stayd)
        warning = text(browser, "#warnings .fault")
        assert warning.startswith("Pool sessions is full: new keys are refused")
        assert "Raise its memory" in warning
        assert browser.title == "(1) stayd"
        assert text(browser, "#pool-sessions .state") == "FULL"
        keep_picture(browser, "fault")
        connection.ask(b"flush_all\r\n", b"OK\r\n")
        wait_until(lambda: "All pools serve" in text(browser, "#warnings"), PATIENCE)
        stayd.kill9()
        wait_until(lambda: "stayd does not answer" in text(browser, "#warnings"), PATIENCE)
        stayd.start()
        wait_until(lambda: "All pools serve" in text(browser, "#warnings"), PATIENCE)


def test_a_clustered_pool_shows_its_partitions(browser):
    """Its engine cannot be reached, so that there are no numbers but those of the start."""
    sessions = {"cluster": "nats://127.0.0.1:1", "cluster_partitions": 4, "serve_while_catching_up": "yes"}
    with Stayd(sessions=sessions) as stayd:
        look(browser, stayd)
        assert text(browser, "#warnings .fault").startswith("Pool sessions waits for its cluster: ")
        assert text(browser, "#pool-sessions .state") == "NO-WRITES"
        figures = text(browser, "#pool-sessions .figures")
        assert re.search(r"cluster\nwaiting no connection\n", figures) and "writes in flight\n0" in figures
        assert text(browser, "#pool-sessions details summary").startswith("4 partitions")
        browser.find_element(By.CSS_SELECTOR, "#pool-sessions details summary").click()
        rows = browser.find_elements(By.CSS_SELECTOR, "#pool-sessions details tbody tr")
        assert [row.text.split()[0] for row in rows] == ["0", "1", "2", "3"]
        assert browser.find_elements(By.CSS_SELECTOR, "#pool-cache details") == []
        keep_picture(browser, "clustered")
        assert complaints(browser) == []


def test_with_a_login_the_page_fetches_as_its_reader(browser, tmp_path):
    made = certificates.make(tmp_path)
    users = tmp_path / "users"
    users.write_text("web:pass word\n")
    users.chmod(0o600)
    with Stayd(server={"admin_auth_file": users, "admin_tls_cert": made["server.pem"],
                       "admin_tls_key": made["server.key"]}) as stayd:
        address = stayd.admin_url().removeprefix("http://")
        browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
        leave(browser)
        browser.get(f"https://web:pass%20word@{address}/")
        wait_until(lambda: len(browser.find_elements(By.CLASS_NAME, "pool")) == 2, PATIENCE)
        assert text(browser, "#warnings") == "✓ All pools serve all requests."
        wait_until(lambda: drawn(browser) == 8 + 7, PATIENCE, "the charts to be drawn")
        assert complaints(browser) == []
        browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": False})


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_markup(stayd):
    web = ROOT / "src" / "admin" / "web"
    for name in ("index.html", "dashboard.js", "charts.js", "dashboard.css", "icon.svg"):
        path = "" if name == "index.html" else name
        with urllib.request.urlopen(f"{stayd.admin_url()}/{path}", timeout=10) as reply:
            content = reply.read().decode()
        assert content == (web / name).read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import", content)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", content)
        assert not re.search(r" on\w+=|style=|<form|<button", content)
