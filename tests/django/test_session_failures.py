"""What a session store does when its daemon is down or full, or when the server is no memcached."""

import os

import pytest
import stayd
from django.test.utils import override_settings
from stayd.django.session_backend import SessionsPoolFull, SessionStore, SessionsUnreachable
from support.servers import free_port, wait_until


def test_an_unreachable_daemon_is_an_error_in_every_method():
    port = free_port()
    with override_settings(SESSION_CACHE=f"memcached://127.0.0.1:{port}/?restart_wait=0"):
        key = "k" * 32
        for use in (
            lambda: SessionStore(key).get("a"),
            lambda: SessionStore(key).load(),
            lambda: SessionStore(key).save(must_create=True),
            lambda: SessionStore(key).save(),
            lambda: SessionStore().create(),
            lambda: SessionStore().save(),
            lambda: SessionStore().exists(key),
            lambda: SessionStore(key).delete(),
            lambda: SessionStore(key).flush(),
            lambda: SessionStore(key).cycle_key(),
        ):
            with pytest.raises(SessionsUnreachable, match=str(port)) as caught:
                use()
            assert isinstance(caught.value, (stayd.ConnectionError, OSError))
            assert not isinstance(caught.value, (KeyError, LookupError))


def reachable(session):
    """False while the client does not try the daemon, because it found the daemon down."""
    try:
        return session.load() is not None
    except SessionsUnreachable:
        return False


def test_an_outage_leaves_the_session_key_so_that_the_cookie_stays(own_daemon):
    session = SessionStore()
    session["user"] = "anna"
    session.save()
    own_daemon.kill9()
    waiting = SessionStore(session.session_key)
    with pytest.raises(SessionsUnreachable):
        waiting.get("user")
    assert waiting.session_key == session.session_key
    assert not waiting.is_empty()
    own_daemon.start()
    wait_until(lambda: reachable(waiting), what="the client's next try")
    assert waiting["user"] == "anna"


def test_a_full_pool_refuses_new_sessions_and_keeps_and_updates_the_old(own_daemon):
    old = SessionStore()
    old["user"] = "anna"
    old.save()
    with pytest.raises(SessionsPoolFull, match="Raise (its memory|`memory`)"):
        for _ in range(1000):
            session = SessionStore()
            session["filler"] = os.urandom(25_000).hex()
            session.save()
    assert SessionStore(old.session_key)["user"] == "anna"
    old["visits"] = 2
    old.save()
    assert SessionStore(old.session_key)["visits"] == 2


def test_a_session_that_is_too_large_is_an_error_and_stays_as_it_was(saved):
    saved["filler"] = "x" * (2 << 20)
    with pytest.raises(stayd.ValueTooLarge, match="item_max"):
        saved.save()
    assert dict(SessionStore(saved.session_key).items()) == {"user": "anna"}


def test_a_server_that_says_of_every_key_that_it_is_taken_is_an_error(daemon, monkeypatch):
    session = SessionStore()
    monkeypatch.setattr(session._cache, "add", lambda *_: False)
    with pytest.raises(RuntimeError, match="is taken"):
        session.create()
