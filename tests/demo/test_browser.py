"""The demo's readers see what a browser would see, and their counts are right."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import browser
import pytest
from browser import Reader, Seen, UnexpectedPage, Visitor

FORM = '<input type="hidden" name="csrfmiddlewaretoken" value="token">'


def account_page(name, visits):
    """The account page as the bookshop shows it."""
    return 200, f'{FORM}<span id="reader">{name}</span><div id="visits">{visits}</div>'


class Shop(ThreadingHTTPServer):
    """A web server that answers with the pages that a test has lined up."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.pages = []  # (status, text or target of a redirect), in the order in which they are sent
        self.requests = []


class Answer(BaseHTTPRequestHandler):
    """Sends the next page."""

    def do_GET(self):
        self.server.requests.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, content = self.server.pages.pop(0)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", content)
            content = ""
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    do_POST = do_GET

    def log_message(self, *arguments):
        """Keeps quiet."""


@pytest.fixture
def shop():
    with Shop() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def reader(shop):
    """A reader who has logged in and seen one visit counted."""
    reader = Reader(shop.url, browser.shop_connections(), "anna")
    shop.pages = [(200, FORM), (302, "/account/"), account_page("anna", 1)]
    reader.log_in()
    assert shop.requests == ["GET /login/", "POST /login/", "GET /account/"]
    return reader


def test_a_reader_whose_visits_count_on_is_logged_in(shop, reader):
    shop.pages = [account_page("anna", 2), account_page("anna", 3)]
    assert [reader.come_back(), reader.come_back()] == [Seen.LOGGED_IN] * 2


def test_a_reader_who_is_sent_to_the_login_page_is_logged_out(shop, reader):
    shop.pages = [(302, "/login/?next=/account/")]
    assert reader.come_back() is Seen.LOGGED_OUT
    assert not reader.logged_in


def test_a_session_that_has_lost_a_visit_does_not_count_as_logged_in(shop, reader):
    shop.pages = [account_page("anna", 2), account_page("anna", 2)]
    assert [reader.come_back(), reader.come_back()] == [Seen.LOGGED_IN, Seen.OLD_SESSION]


def test_an_error_page_is_reloaded_before_it_counts(shop, reader):
    shop.pages = [(500, "sorry"), (503, "sorry"), account_page("anna", 2)]
    assert reader.come_back() is Seen.LOGGED_IN


def test_an_error_page_that_stays_counts_as_an_error(shop, reader, monkeypatch):
    monkeypatch.setattr(browser, "RELOADS", 1)
    shop.pages = [(500, "sorry"), (500, "sorry")]
    assert reader.come_back() is Seen.ERROR


def test_another_readers_account_page_is_not_taken_for_ones_own(shop, reader):
    shop.pages = [account_page("bert", 2)]
    with pytest.raises(UnexpectedPage):
        reader.come_back()


def test_a_login_that_shows_the_form_again_is_not_a_login(shop):
    reader = Reader(shop.url, browser.shop_connections(), "anna")
    shop.pages = [(200, FORM), (200, FORM)]
    with pytest.raises(UnexpectedPage):
        reader.log_in()


@pytest.mark.parametrize(
    "pages, kept",
    [
        ([(200, FORM), (302, "/basket/"), (200, "a basket")], True),
        ([(500, "sorry")], False),
        ([(200, FORM), (500, "sorry")], False),
    ],
)
def test_a_visitor_has_a_basket_only_if_the_shop_kept_it(shop, pages, kept):
    shop.pages = pages
    visitor = Visitor(shop.url, browser.shop_connections())
    assert visitor.fill_basket("walden") is kept
