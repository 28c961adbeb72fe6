"""Wagtail from PyPI on stayd, as an editor uses it in Chromium: examples/wagtail/run.py.

Not collected by `make test`, because it needs PyPI. scripts/test-matrix runs it. With
STAYD_SCREENSHOTS=FOLDER in the environment, pictures are left there to be looked at.
"""

import os
import re
import signal
import subprocess
import sys

import pytest

from support.chromium import chromium, keep_picture
from support.servers import ROOT, Raw, free_port, wait_until

SET_UP_TIMEOUT = 600.0
"""Seconds for a start of the site: the first start fetches Wagtail from PyPI, on a busy machine."""

PATIENCE = 60.0
TITLE = "Nobody was logged out"
FRONT_PAGE = 2
"""The id of the page that Wagtail's own migrations make."""


class Site:
    """run.py as a process, which can be started again on the same folder."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._output_path = folder.with_suffix(".log")
        self._process = None

    def start(self):
        """Starts everything, and waits until the site has printed its address."""
        with open(self._output_path, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-B", ROOT / "examples" / "wagtail" / "run.py",
                 "--port", str(self.port), "--folder", self.folder], stdout=output, stderr=output)
        self.said("Ctrl-C stops all", SET_UP_TIMEOUT)

    def said(self, pattern, timeout=PATIENCE):
        """Waits until run.py has printed this; returns the last match."""
        def look():
            output = self._output_path.read_text()
            found = list(re.finditer(pattern, output))
            if not found and self._process.poll() is not None:
                pytest.fail(f"run.py ended with {self._process.returncode}:\n{output}")
            return found and found[-1]

        return wait_until(look, timeout, pattern, interval=0.1)

    @property
    def password(self):
        return self.said(r"password: (\S+)")[1]

    @property
    def stayd_pid(self):
        return int(self.said(r"process (\d+)")[1])

    def kill_stayd(self):
        """SIGKILL; waits until run.py has started stayd again."""
        before = self.stayd_pid
        os.kill(before, signal.SIGKILL)
        self.said(r"ended by SIGKILL. It runs again")
        assert self.stayd_pid != before

    def pool(self, name):
        """A connection to a pool."""
        return Raw(str(self.folder / "run" / f"{name}.sock"))

    def stop(self):
        """Ctrl-C; returns the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(PATIENCE)

    def close(self):
        """Ends the processes that still run. run.py's children end with it, however it ends."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    # A shell that starts the tests in the background has SIGINT ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Site(tmp_path_factory.mktemp("wagtail") / "site")
    try:
        made.start()
        yield made
    finally:
        made.close()
        signal.signal(signal.SIGINT, before)


class Editor:
    """A person with a browser."""

    def __init__(self, browser, url):
        self.browser = browser
        self.url = url

    def open(self, path):
        """Opens a page; returns the address that the browser ended at, without the site's part."""
        self.browser.get(self.url + path)
        return self.place()

    def place(self):
        return self.browser.current_url.removeprefix(self.url)

    def find(self, selector):
        """Waits for an element that matches; returns the first."""
        found = wait_until(lambda: self.browser.find_elements("css selector", selector), PATIENCE, selector)
        return found[0]

    def log_in(self, password):
        self.find("#id_username").send_keys("editor")
        self.find("#id_password").send_keys(password + "\n")
        wait_until(lambda: self.place() == "/admin/", PATIENCE, "Wagtail's first page")

    def is_logged_in(self):
        """Whether Wagtail shows the editor's account instead of its login page."""
        place = self.open("/admin/account/")
        assert place == "/admin/account/" or place.startswith("/admin/login/"), place
        return place == "/admin/account/"

    def keep_picture(self, name):
        keep_picture(self.browser, f"wagtail-{name}")


@pytest.fixture
def editor(site):
    with chromium() as browser:
        yield Editor(browser, site.url)


def test_an_editor_stays_logged_in_and_saves_what_was_begun(site, editor):
    """While an article is being written, the cache is cleared and stayd killed; then everything is
    restarted."""
    assert editor.open("/admin/").startswith("/admin/login/")
    editor.log_in(site.password)
    cookie = editor.browser.get_cookie("sessionid")["value"]
    editor.open(f"/admin/pages/add/newsroom/article/{FRONT_PAGE}/")
    editor.find("#id_title").send_keys(TITLE)
    editor.keep_picture("article")

    with site.pool("cache") as cache, site.pool("sessions") as sessions:
        assert int(cache.stats()["curr_items"]) > 0
        stored = int(sessions.stats()["curr_items"])
        cache.ask(b"flush_all\r\n", b"OK\r\n")
        assert int(cache.stats()["curr_items"]) == 0
        assert int(sessions.stats()["curr_items"]) == stored > 0
    site.kill_stayd()

    editor.find("button.action-save:not([name])").click()
    wait_until(lambda: re.fullmatch(r"/admin/pages/\d+/edit/", editor.place()), PATIENCE, "the draft")
    assert editor.find("#id_title").get_attribute("value") == TITLE
    editor.keep_picture("saved")
    assert editor.is_logged_in()

    assert site.stop() == 130
    site.start()
    assert editor.is_logged_in()
    assert editor.browser.get_cookie("sessionid")["value"] == cookie
    editor.open("/account/sessions/")
    assert "1 browser" in editor.browser.page_source
    editor.keep_picture("sessions")


def test_a_logout_outlasts_a_kill(site, editor):
    """This shows that the other test sees the session, and not a site that lets everybody in."""
    editor.open("/admin/login/")
    editor.log_in(site.password)
    cookie = editor.browser.get_cookie("sessionid")
    editor.browser.execute_script(
        "const form = document.createElement('form'); form.method = 'post'; form.action = '/admin/logout/';"
        "form.innerHTML = `<input name=csrfmiddlewaretoken value="
        "${document.cookie.match(/csrftoken=(\\w+)/)[1]}>`;"
        "document.body.append(form); form.submit()")
    wait_until(lambda: editor.place().startswith("/admin/login/"), PATIENCE, "the login")
    site.kill_stayd()
    editor.browser.add_cookie({"name": "sessionid", "value": cookie["value"]})
    assert not editor.is_logged_in()
