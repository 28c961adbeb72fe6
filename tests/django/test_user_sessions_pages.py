"""The pages that show and end sessions: `my sessions`, and the admin's page."""

import ast
import gettext
import re
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.test import Client as Browser
from django.test.utils import override_settings
from sitesettings import WITH_USERS
from stayd.django import admin, sessions, user_signals, views
from stayd.django.session_names import digest_name
from stayd.django.user_agents import browser_of, system_of
from support.chromium import chromium, keep_picture
from support.servers import ROOT, wait_until
from test_user_sessions import FIREFOX, key_of, logged_in, who

HERE = ROOT / "python" / "stayd" / "django"
PAGE, ADMIN = "/account/sessions/", "/admin/stayd/usersession/"
MARKUP = '"><script>alert(1)</script>&amp;{{ 7 }}'


@pytest.fixture(autouse=True)
def site(daemon):
    user_signals.connect()
    with override_settings(**WITH_USERS):
        yield


@pytest.fixture
def root(user):
    return User.objects.create_superuser("root", password="secret")


def digest(browser):
    return digest_name(key_of(browser))


def text_of(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def test_users_see_their_sessions_and_end_one(user):
    browser, other = logged_in(), logged_in(REMOTE_ADDR="192.0.2.9")
    page = text_of(browser.get(PAGE))
    assert "Firefox on Linux" in page and "192.0.2.9" in page and "2 browsers" in page
    assert page.count("this browser") == 1
    assert digest(other) in page and digest(browser) not in page
    page = text_of(browser.post(PAGE, {"end": digest(other)}, follow=True))
    assert "1 session has ended." in page and "1 browser." in page
    assert who(other) == "nobody" and who(browser) == "anna"
    assert "already ended" in text_of(browser.post(PAGE, {"end": digest(other)}, follow=True))


def test_users_end_all_their_other_sessions(user):
    browser, others = logged_in(), [logged_in() for _ in range(3)]
    page = text_of(browser.post(PAGE, {"end_others": "1"}, follow=True))
    assert "3 sessions have ended." in page
    assert [who(other) for other in others] == ["nobody"] * 3 and who(browser) == "anna"


def test_ending_the_session_of_this_browser_is_a_logout(user):
    browser = logged_in()
    answer = browser.post(PAGE, {"end": digest(browser)})
    assert answer.status_code == 302 and answer["Location"].startswith("/login/")
    assert who(browser) == "nobody"


def test_nobody_ends_the_sessions_of_others(user):
    User.objects.create_user("bert", password="secret")
    browser, bert = logged_in(), logged_in("bert")
    bert.post(PAGE, {"end": digest(browser)})
    assert who(browser) == "anna"
    assert Browser().get(PAGE).status_code == 302
    assert browser.put(PAGE).status_code == 405
    strict = Browser(enforce_csrf_checks=True)
    strict.cookies = browser.cookies.copy()
    assert strict.post(PAGE, {"end_others": "1"}).status_code == 403


def test_markup_in_a_user_agent_is_shown_as_text(user, root):
    browser = logged_in(agent=MARKUP)
    clerks = logged_in("root", agent=MARKUP)
    for page in (text_of(browser.get(PAGE)), text_of(clerks.get(ADMIN, {"user": user.pk})),
                 text_of(clerks.get(ADMIN, {"q": MARKUP}))):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;{{ 7 }}" in page


def test_many_sessions_come_in_pages(user, root, monkeypatch):
    monkeypatch.setattr(views, "PER_PAGE", 2)
    monkeypatch.setattr(admin, "PER_PAGE", 2)
    browsers = [logged_in() for _ in range(3)]
    page = text_of(browsers[0].get(PAGE))
    assert page.count("<td title=") == 2 and "1/2" in page and "?page=2" in page
    assert text_of(browsers[0].get(PAGE, {"page": "2"})).count("<td title=") == 1
    assert "2/2" in text_of(browsers[0].get(PAGE, {"page": "99"}))
    page = text_of(logged_in("root").get(ADMIN, {"user": user.pk, "page": 2}))
    assert "2/2" in page and f"?user={user.pk}&amp;page=1" in page


def test_without_the_middleware_the_page_says_what_is_missing(user):
    browser = logged_in()
    with override_settings(MIDDLEWARE=WITH_USERS["MIDDLEWARE"][1:]):
        with pytest.raises(ImproperlyConfigured, match="UserSessionsMiddleware"):
            browser.get(PAGE)


def test_the_admin_finds_a_user_and_ends_sessions(user, root):
    browser, other, third = logged_in(), logged_in(), logged_in()
    clerks = logged_in("root")
    assert "Sessions of users" in text_of(clerks.get("/admin/"))
    assert f"?user={user.pk}" in text_of(clerks.get(ADMIN, {"q": "ann"}))
    assert "no such user" in text_of(clerks.get(ADMIN, {"q": "zorro"}))
    page = text_of(clerks.get(ADMIN, {"user": user.pk}))
    assert "anna: 3 sessions" in page and "Firefox on Linux" in page
    answer = clerks.post(f"{ADMIN}?user={user.pk}", {"session": [digest(browser)], "end_chosen": "1"},
                        follow=True)
    assert "1 session has ended." in text_of(answer)
    assert (who(browser), who(other), who(third)) == ("nobody", "anna", "anna")
    clerks.post(f"{ADMIN}?user={user.pk}", {"end_all": "1"})
    assert (who(other), who(third)) == ("nobody", "nobody")
    assert [entry.change_message for entry in LogEntry.objects.filter(object_id=user.pk)] == [
        "Ended 2 sessions.", "Ended 1 session."]
    clerks.post(f"{ADMIN}?user={root.pk}", {"end_all": "1"})
    assert who(clerks) == "root"
    assert clerks.get(ADMIN, {"user": "no-number"}).status_code == 404
    assert clerks.get(ADMIN, {"user": "9" * 30}).status_code == 404


def test_the_admin_page_takes_permissions(user):
    browser = logged_in()
    clerk = User.objects.create_user("clerk", password="secret", is_staff=True)
    clerks = logged_in("clerk")
    assert clerks.get(ADMIN).status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="view_usersession"))
    page = text_of(clerks.get(ADMIN, {"user": user.pk}))
    assert "anna: 1 session" in page and 'name="end_all"' not in page
    assert clerks.post(f"{ADMIN}?user={user.pk}", {"end_all": "1"}).status_code == 403
    assert who(browser) == "anna"
    clerk.user_permissions.add(Permission.objects.get(codename="delete_usersession"))
    assert 'name="end_all"' in text_of(clerks.get(ADMIN, {"user": user.pk}))
    assert clerks.post(f"{ADMIN}?user={user.pk}", {"end_all": "1"}).status_code == 302
    assert who(browser) == "nobody"


def test_the_admin_shows_nothing_while_the_middleware_is_off(user, root):
    with override_settings(MIDDLEWARE=WITH_USERS["MIDDLEWARE"][1:]):
        clerks = logged_in("root")
        assert "Sessions of users" not in text_of(clerks.get("/admin/"))
        assert clerks.get(ADMIN).status_code == 403


def test_the_pages_speak_german(user, root):
    browser = logged_in(HTTP_ACCEPT_LANGUAGE="de")
    logged_in()
    page = text_of(browser.get(PAGE))
    assert 'lang="de"' in page
    for words in ("Meine Sitzungen", "2 Browsern", "dieser Browser", "Firefox unter Linux",
                  "Alle anderen Sitzungen beenden", "Zuletzt gesehen"):
        assert words in page, words
    clerks = logged_in("root", HTTP_ACCEPT_LANGUAGE="de")
    assert "anna: 2 Sitzungen" in text_of(clerks.get(ADMIN, {"user": user.pk}))
    assert "Sitzungen von Benutzern" in text_of(clerks.get("/admin/"))


def translatable():
    """Every text that the modules and templates give to gettext."""
    for source in HERE.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            name = getattr(getattr(node, "func", None), "id", "")
            if name == "_":
                yield node.args[0].value
            elif name == "ngettext":
                yield from (node.args[0].value, node.args[1].value)
    for source in HERE.rglob("*.html"):
        text = source.read_text()
        yield from re.findall(r'{% translate "([^"]+)" %}', text)
        for block in re.findall(r"{% blocktranslate[^%]*trimmed %}(.*?){% endblocktranslate %}", text, re.S):
            for part in block.split("{% plural %}"):
                yield " ".join(re.sub(r"{{ (\w+) }}", r"%(\1)s", part).split())


@pytest.mark.parametrize("language", [path.name for path in (HERE / "locale").iterdir()])
def test_every_text_is_translated_and_the_compiled_file_is_current(language):
    folder = HERE / "locale" / language / "LC_MESSAGES"
    with open(folder / "django.mo", "rb") as file:
        catalog = gettext.GNUTranslations(file)._catalog
    compiled = {key[0] if isinstance(key, tuple) else key for key in catalog if key}
    source = (folder / "django.po").read_text()
    for text in translatable():
        assert f'"{text}"\n' in source, text
        assert text in compiled or f'msgid_plural "{text}"\n' in source, text
    for translation in catalog.values():
        assert translation.startswith("Project-Id") or f'"{translation}"\n' in source, translation
    assert len(compiled) == len(re.findall('^msgid "[^"]', source, re.M))


@pytest.mark.parametrize("agent, browser, system", [
    (FIREFOX, "Firefox", "Linux"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 "
     "Safari/537.36 Edg/120.0.0.0", "Edge", "Windows"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
     "Version/17.1 Safari/605.1.15", "Safari", "macOS"),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
     "CriOS/120.0 Mobile/15E148 Safari/604.1", "Chrome", "iOS"),
    ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile "
     "Safari/537.36", "Chrome", "Android"),
    ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 "
     "Safari/537.36", "Chrome", "Linux"),
    ("curl/8.5.0", "curl", ""), ("", "", ""),
])
def test_user_agents_are_told_apart(agent, browser, system):
    assert (browser_of(agent), system_of(agent)) == (browser, system)


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def live_site():
    """The site behind a real web server."""
    with override_settings(ALLOWED_HOSTS=["127.0.0.1"]):
        server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def browser():
    with chromium() as started:
        yield started


def test_both_pages_in_chromium(live_site, browser, user, root):
    """The steps of a person: look at the own sessions, end another; then an operator ends the rest."""
    other, mallory = logged_in(), logged_in(agent=MARKUP)

    def press(selector):
        browser.find_element("css selector", selector).click()

    def wait_for(text):
        wait_until(lambda: text in browser.page_source, 60, text)

    own = logged_in()
    browser.get(live_site + "/plain/")
    browser.add_cookie({"name": "sessionid", "value": key_of(own)})
    browser.get(live_site + PAGE)
    wait_for("3 browsers")
    keep_picture(browser, "my-sessions")
    press(f'button[value="{digest(mallory)}"]')
    wait_for("1 session has ended.")
    assert who(mallory) == "nobody" and who(other) == "anna"
    browser.add_cookie({"name": "sessionid", "value": key_of(logged_in("root"))})
    browser.get(live_site + ADMIN)
    browser.find_element("id", "q").send_keys("anna\n")
    wait_until(lambda: browser.find_elements("link text", "anna"), 60, "anna to be found")
    press("#result_list a")
    wait_for("anna: 2 sessions")
    keep_picture(browser, "admin-sessions")
    press('input[name="end_all"]')
    wait_for("2 sessions have ended.")
    assert who(other) == "nobody" and sessions.for_user(user) == []
