"""docs/migrating.md is true: a site follows each way that the page describes, with the page's settings and
commands, while a visitor stays logged in."""

import io
import re
import shlex
import shutil
import sys

import pytest
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.test.utils import override_settings
from support.redis import REDIS, Redis
from support.servers import ROOT, Memcached

PAGE = (ROOT / "docs" / "migrating.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
WAYS = [name for name, text in SECTIONS.items() if "# before" in text]
STEPS = ("before", "during", "after")


@pytest.fixture(scope="module")
def peers():
    """The page's memcacheds, by address."""
    with Memcached(["-o", "no_lru_maintainer"]) as one, Memcached(["-o", "no_lru_maintainer"]) as two:
        yield {"127.0.0.1:11311": one.address(), "127.0.0.1:11322": two.address()}


@pytest.fixture
def redis():
    pytest.importorskip("django_redis", reason="python3-django-redis is not installed")
    if not shutil.which(REDIS):
        pytest.skip("redis-server is not there")
    with Redis() as server:
        yield {"127.0.0.1:6379": server.address()}


@pytest.fixture
def addresses(section, daemon, peers, request):
    """What listens at the section's addresses, by address."""
    redis = request.getfixturevalue("redis") if "redis" in SECTIONS[section] else {}
    return {**peers, **redis, "127.0.0.1:11200": daemon.address("sessions"),
            "127.0.0.1:11211": daemon.address("cache")}


def settings_of(section, step, addresses):
    """The settings in the section's block for this step."""
    (text,) = re.findall(rf"```python\n# {step}\n(.*?)```", SECTIONS[section], re.S)
    for address, real in addresses.items():
        text = text.replace(address, real)
    settings = {}
    exec(text, {}, settings)
    sys.modules.pop("stayd.django.session_leaving", None)
    return override_settings(**settings)


def commands_of(section):
    return [shlex.split(line, comments=True)[2:]
            for line in re.findall(r"^    (python manage.py .+)$", SECTIONS[section], re.M)]


def visit(browser):
    """The user's name and the number of visits, in a process with the current settings. Counts one more
    visit."""
    later = Browser()
    later.cookies = browser.cookies.copy()
    return later.get("/who/").content.decode(), int(later.get("/count/").content)


def log_in():
    browser = Browser()
    browser.post("/login/", {"username": "anna", "password": "secret"})
    return browser


@pytest.mark.parametrize("section", WAYS)
def test_a_visitor_stays_logged_in_on_each_way(addresses, user, section):
    with settings_of(section, "before", addresses):
        comes, stays_away = log_in(), log_in()
        assert visit(comes) == ("anna", 1)
    with settings_of(section, "during", addresses):
        assert visit(comes) == ("anna", 2)
        new = log_in()
        if section == "Back":
            assert visit(stays_away) == ("anna", 1)
        for command in commands_of(section):
            out = io.StringIO()
            call_command(*command, stdout=out)
            assert "already there" in out.getvalue()
    with settings_of(section, "after", addresses):
        assert visit(comes) == ("anna", 3)
        assert visit(new)[0] == visit(stays_away)[0] == "anna"


@pytest.mark.parametrize("section", [name for name in WAYS if name != "Back"])
def test_until_the_last_step_the_site_can_go_back(addresses, user, section):
    with settings_of(section, "before", addresses):
        browser = log_in()
    with settings_of(section, "during", addresses):
        assert visit(browser) == ("anna", 1)
        new = log_in()
    with settings_of(section, "before", addresses):
        assert visit(browser) == ("anna", 2) and visit(new) == ("anna", 1)


def test_the_section_on_the_command_has_commands_that_run(daemon, database):
    commands = commands_of("The command")
    assert len(commands) == 2
    with override_settings(SESSION_CACHE_MIGRATE_FROM="db"):
        for command in commands:
            call_command(*command, stdout=io.StringIO())


def test_each_count_and_each_refusal_stands_in_the_page(daemon):
    from stayd.django.session_copying import Counts

    for words in Counts.WORDS.values():
        assert f"| {words.split(' (')[0]} |" in PAGE
    with pytest.raises(CommandError, match="session_leaving"):
        call_command("stayd_migrate_sessions", "--from", "stayd")
    assert {"From the database", "From cached_db", "From memcached", "From two memcacheds", "From Redis",
            "Back"} == set(WAYS)
