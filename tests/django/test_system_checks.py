"""The system checks, as `manage.py check` and `manage.py check --deploy` run them."""

import os
import pathlib
import subprocess
import sys

import pytest
import stayd
from django.apps import apps
from django.core.checks import run_checks
from django.test.utils import override_settings
from django.utils.translation import gettext_lazy
from sitesettings import caches_at
from support.servers import Memcached, free_port

SESSIONS = "memcached://127.0.0.1:11200/"
PICKLE = "serializers.PickleSerializer"


def found(deploy=False, **changes):
    """{id: message} of all that the checks say with these settings."""
    with override_settings(**changes):
        messages = run_checks(tags=["stayd"], include_deployment_checks=deploy)
    return {message.id: message.msg for message in messages}


def test_good_settings_have_no_faults_and_no_daemon_is_asked():
    assert found(SESSION_CACHE=SESSIONS, CACHES=caches_at("127.0.0.1:11211")) == {}


def test_the_application_has_a_label_that_is_not_djangos():
    assert apps.get_app_config("stayd").name == "stayd.django"


@pytest.mark.parametrize("url", [None, ""])
def test_a_missing_session_cache_is_named(url):
    message = found(SESSION_CACHE=url)["stayd.E001"]
    assert "SESSION_CACHE is not set" in message
    assert "memcached://127.0.0.1:11200/" in message


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379/", "127.0.0.1:11200", "memcached://127.0.0.1/", 11200]
)
def test_a_session_cache_that_is_no_pools_url_is_named(url):
    messages = found(SESSION_CACHE=url)
    assert list(messages) == ["stayd.E002"]
    assert messages["stayd.E002"].startswith("SESSION_CACHE: ")


@pytest.mark.parametrize(
    "location",
    [
        "127.0.0.1:11200",
        "localhost:11200",
        "memcached://127.0.0.1:11200",
        ["127.0.0.1:11211", "[::1]:11200"],
        "127.0.0.1:11211;127.0.0.1:11200",
    ],
)
def test_sessions_and_cache_on_one_pool_are_named_however_it_is_written(location):
    message = found(SESSION_CACHE=SESSIONS, CACHES=caches_at(location))["stayd.E003"]
    assert "CACHES['default']" in message


def test_another_back_end_on_the_sessions_pool_is_named_too():
    caches = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "x y"},
        "files": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": "/tmp/x",
        },
        "old": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": "127.0.0.1:11200",
        },
    }
    messages = found(SESSION_CACHE=SESSIONS, CACHES=caches)
    assert list(messages) == ["stayd.E003"]
    assert "CACHES['old']" in messages["stayd.E003"]


@pytest.mark.parametrize(
    "location",
    [
        pathlib.Path("/var/tmp/django_cache"),
        [pathlib.Path("/var/tmp/django_cache")],
        gettext_lazy("a table's name"),
        ("127.0.0.1", 11300),
        [("127.0.0.1", 11300)],
        {"host": "127.0.0.1"},
        11300,
        None,
        b"127.0.0.1",
        "",
        "rediss://user:pass@[bad",
    ],
    ids=repr,
)
def test_what_other_back_ends_take_for_a_location_is_no_fault_and_no_error(location):
    caches = {"default": {"BACKEND": "other.Cache", "LOCATION": location}, "none": {}}
    assert found(SESSION_CACHE=SESSIONS, CACHES=caches) == {}


@pytest.mark.parametrize("form", [pathlib.Path, lambda path: [pathlib.Path(path)]])
def test_a_socket_that_is_named_by_a_path_object_is_compared_too(form):
    caches = caches_at(form("/run/stayd/sessions.sock"))
    assert list(found(SESSION_CACHE="unix:///run/stayd/sessions.sock", CACHES=caches)) == [
        "stayd.E003"
    ]


def test_two_listeners_of_one_pool_are_found_out_by_asking(daemon):
    caches = caches_at("unix:" + daemon.socket("sessions"))
    assert found(CACHES=caches) == {}
    assert "CACHES['default']" in found(deploy=True, CACHES=caches)["stayd.E003"]


def test_a_serializer_that_pickles_is_named():
    messages = found(SESSION_CACHE=SESSIONS, SESSION_SERIALIZER=PICKLE)
    assert list(messages) == ["stayd.E004"]
    assert "PickleSerializer" in messages["stayd.E004"]


def test_a_serializer_that_is_not_there_is_named():
    assert list(found(SESSION_CACHE=SESSIONS, SESSION_SERIALIZER="absent.Json")) == ["stayd.E004"]


def test_several_faults_are_named_together():
    changes = {"SESSION_CACHE": SESSIONS, "SESSION_SERIALIZER": PICKLE}
    messages = found(CACHES=caches_at("127.0.0.1:11200"), **changes)
    assert sorted(messages) == ["stayd.E003", "stayd.E004"]


def test_stayds_own_pools_have_no_faults(daemon):
    assert found(deploy=True) == {}


def test_an_unreachable_daemon_is_a_warning_and_only_on_request():
    url = f"memcached://127.0.0.1:{free_port()}/"
    assert found(SESSION_CACHE=url) == {}
    messages = found(deploy=True, SESSION_CACHE=url)
    assert list(messages) == ["stayd.W001"]
    assert url in messages["stayd.W001"]


def test_a_server_that_is_no_memcached_is_a_warning():
    from scripted import Scripted

    with Scripted([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as server:
        assert list(found(deploy=True, SESSION_CACHE=server.url)) == ["stayd.W001"]


def test_stayds_cache_pool_behind_the_sessions_is_named_as_one_that_forgets(daemon):
    caches = caches_at(daemon.address("sessions"))
    messages = found(deploy=True, SESSION_CACHE=daemon.url("cache"), CACHES=caches)
    assert sorted(messages) == ["stayd.W002", "stayd.W003"]
    assert all("The pool 'cache'" in message for message in messages.values())


def test_a_plain_memcached_behind_the_sessions_is_named_as_one_that_forgets():
    with Memcached() as peer:
        messages = found(deploy=True, SESSION_CACHE=peer.url())
    assert sorted(messages) == ["stayd.W002", "stayd.W003"]
    assert "The memcached at" in messages["stayd.W002"]
    assert "evicts" in messages["stayd.W002"]


def test_a_memcached_that_does_not_evict_still_does_not_persist():
    with Memcached(["-M"]) as peer:
        assert list(found(deploy=True, SESSION_CACHE=peer.url())) == ["stayd.W003"]


def test_each_host_of_a_cluster_is_asked_and_must_be_clustered(daemon):
    nowhere = f"127.0.0.1:{free_port()}"
    url = f"memcached://{daemon.address('sessions')},{nowhere}/?cluster=yes"
    messages = found(deploy=True, SESSION_CACHE=url)
    assert sorted(messages) == ["stayd.W001", "stayd.W004"]
    assert nowhere in messages["stayd.W001"] and daemon.address("sessions") in messages["stayd.W004"]


def test_a_cache_on_any_host_of_the_sessions_cluster_is_named():
    sessions = "memcached://127.0.0.1:11200,app2:11200/?cluster=yes"
    for location in ("app2:11200", "memcached://app3:11200,app2:11200/?cluster=yes"):
        assert list(found(SESSION_CACHE=sessions, CACHES=caches_at(location))) == ["stayd.E003"]


def test_a_site_with_other_sessions_and_no_session_cache_is_left_alone(settings_without_stayd):
    assert found(deploy=True) == {}


@pytest.fixture
def settings_without_stayd():
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
        from django.conf import settings

        del settings.SESSION_CACHE
        yield


SITE = """
import sys
from django.conf import settings
settings.configure(
    SECRET_KEY="only for tests",
    INSTALLED_APPS=["django.contrib.sessions", {app}],
    SESSION_ENGINE="stayd.django.session_backend",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF="testsite",
    {settings}
)
import django
django.setup()
{command}
"""

CHECK = "from django.core.management import call_command; call_command('check')"
SERVE = "from django.core.wsgi import get_wsgi_application; get_wsgi_application()"


def run_site(command, app='"stayd.django"', settings=""):
    """The exit code and output of a process of its own with these settings."""
    here = pathlib.Path(__file__).parent
    path = os.pathsep.join([str(here), str(pathlib.Path(stayd.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", SITE.format(command=command, app=app, settings=settings)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_manage_check_fails_with_the_fault_when_the_application_is_installed():
    code, output = run_site(CHECK)
    assert code != 0
    assert "(stayd.E001) SESSION_CACHE is not set" in output


@pytest.mark.parametrize(
    "settings, fault",
    [
        ("", "SESSION_CACHE is not set"),
        ("SESSION_CACHE='redis://h/'", "unknown scheme"),
        (f"SESSION_CACHE='{SESSIONS}', SESSION_SERIALIZER='{PICKLE}'", "pickles"),
    ],
)
def test_a_site_without_the_application_does_not_start_with_a_fault(settings, fault):
    code, output = run_site(SERVE, app="", settings=settings)
    assert code != 0
    assert "ImproperlyConfigured" in output
    assert fault in output


def test_the_checks_run_without_the_application_once_the_engine_is_imported():
    code, output = run_site(
        "import stayd.django.session_backend; " + CHECK,
        app="",
        settings=f"SESSION_CACHE='{SESSIONS}', CACHES={{'default': {{"
        "'BACKEND': 'django.core.cache.backends.memcached.PyMemcacheCache',"
        "'LOCATION': 'localhost:11200'}}",
    )
    assert code != 0
    assert "stayd.E003" in output


def test_a_site_with_good_settings_starts_while_the_daemon_is_down():
    code, output = run_site(SERVE, settings=f"SESSION_CACHE='memcached://127.0.0.1:{free_port()}/'")
    assert code == 0, output
