"""People at their browsers: readers with a login, and visitors without one.

Each person has a cookie jar and finds the CSRF token in the page's form, as a browser does. All
people of one shop share a few kept-alive connections, as behind a reverse proxy.
"""

import enum
import re
import time

import requests
from requests.adapters import HTTPAdapter

CONNECTIONS_PER_SHOP = 4
TIMEOUT_S = 120  # long enough for a machine that is busy with other work
RELOADS = 25  # how many times a person reloads an error page
RELOAD_EVERY_S = 0.2

CSRF_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
READER = re.compile(r'id="reader">([^<]+)<')
VISITS = re.compile(r'id="visits">(\d+)<')


class Seen(enum.Enum):
    """What a reader sees on coming back to the account page."""

    LOGGED_IN = "logged in, and the count of visits goes on"
    LOGGED_OUT = "asked to log in again"
    OLD_SESSION = "logged in, but the session has lost a change"
    ERROR = "an error page, however often they reloaded it"


class UnexpectedPage(Exception):
    """The shop at url showed something that a working shop does not show."""

    def __init__(self, url, what):
        super().__init__(f"{url}: {what}")
        self.url = url


def shop_connections():
    """Returns the connections that all people of one shop share."""
    return HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS_PER_SHOP, pool_block=True)


def patiently(load):
    """Returns the page that load() returns. Loads it again while it is an error page."""
    page = load()
    for _ in range(RELOADS):
        if page.status_code < 500:
            break
        time.sleep(RELOAD_EVERY_S)
        page = load()
    return page


class Browser:
    """A browser with its own cookies, looking at one shop."""

    def __init__(self, url, connections):
        """url: the shop, without a slash at the end; connections: from shop_connections()."""
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.mount("http://", connections)

    def get(self, path):
        """Loads a page and returns the answer; redirects are not followed."""
        return self.http.get(self.url + path, allow_redirects=False, timeout=TIMEOUT_S)

    def submit(self, page, path, **fields):
        """Sends the form on that page to path, with its CSRF token, and follows the redirect."""
        token = CSRF_TOKEN.search(page.text)
        if token is None:
            raise UnexpectedPage(self.url, f"no form on {page.url} (status {page.status_code})")
        data = {"csrfmiddlewaretoken": token.group(1), **fields}
        headers = {"Referer": page.url}
        return self.http.post(self.url + path, data=data, headers=headers, timeout=TIMEOUT_S)


class Reader(Browser):
    """Somebody with an account, who remembers which visit the account page should count next."""

    def __init__(self, url, connections, name):
        super().__init__(url, connections)
        self.name = name
        self.logged_in = False
        self.visits = 0

    def log_in(self):
        """Logs in through the form, and tries again after an error page, because a memcached client
        notices a restart of the daemon only when a request fails. Raises UnexpectedPage if the
        reader is not logged in."""
        page = patiently(self.try_to_log_in)
        if not self.is_own_account(page):
            raise UnexpectedPage(
                self.url, f"{self.name} could not log in (status {page.status_code})"
            )
        self.note_visit(page)

    def try_to_log_in(self):
        """Fills in the login form and returns the next page."""
        form = self.get("/login/")
        if form.status_code >= 500:
            return form
        fields = {"username": self.name, "password": self.name, "next": "/account/"}
        return self.submit(form, "/login/", **fields)

    def is_own_account(self, page):
        """Whether the page is the account page of this reader."""
        named = READER.search(page.text)
        return page.status_code == 200 and named is not None and named.group(1) == self.name

    def note_visit(self, page):
        """Remembers the count on an account page; returns whether it continues the last count."""
        expected = self.visits + 1
        self.visits = int(VISITS.search(page.text).group(1))
        self.logged_in = True
        return self.visits == expected

    def come_back(self):
        """Loads the account page with the cookies of the last visit and says what it shows."""
        page = patiently(lambda: self.get("/account/"))
        if page.status_code >= 500:
            return Seen.ERROR
        if page.status_code == 302 and page.headers["Location"].startswith("/login/"):
            self.logged_in = False
            return Seen.LOGGED_OUT
        if not self.is_own_account(page):
            raise UnexpectedPage(
                self.url, f"status {page.status_code} for the account of {self.name}"
            )
        return Seen.LOGGED_IN if self.note_visit(page) else Seen.OLD_SESSION

    def clear_cache(self):
        """Presses the button on the account page that clears the shop's whole cache."""
        page = self.get("/account/")
        if not self.is_own_account(page):
            raise UnexpectedPage(self.url, f"{self.name} is not logged in")
        self.note_visit(page)
        answer = self.submit(page, "/cache/clear/")
        if answer.status_code != 200:
            raise UnexpectedPage(self.url, f"status {answer.status_code} after clearing the cache")
        if self.is_own_account(answer):
            self.note_visit(answer)


class Visitor(Browser):
    """Somebody without an account, who puts a book into the basket."""

    def fill_basket(self, slug):
        """Looks at a book and puts it into the basket. Returns whether the shop kept it."""
        page = self.get(f"/books/{slug}/")
        if page.status_code >= 500:
            return False
        return self.submit(page, "/basket/", slug=slug).status_code == 200
