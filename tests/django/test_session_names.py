"""The name of a session in the pool, and sessions that earlier versions have stored."""

import json
import re
import threading

import pytest
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.test.utils import override_settings
from relay import AFTER, BEFORE, Relay
from stayd.django.session_backend import SessionStore
from stayd.django.session_cache import cache as pool
from stayd.django import session_names
from stayd.django.session_names import digest_name, earlier_name

KEY = "abcdefgh0123456789abcdefgh012345"
EARLIER = "1" + KEY
DATA = {"_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "visits": 1}


def leave_earlier(data=DATA, ttl_s=1000):
    """Puts a session there as version 0.1 did."""
    pool.set(EARLIER, json.dumps(data, separators=(",", ":")).encode(), ttl_s=ttl_s)


@pytest.fixture
def earlier(daemon):
    leave_earlier()
    return SessionStore(KEY)


def test_a_name_is_the_beginning_of_the_keys_sha256():
    assert digest_name("") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NM"[:24]
    assert digest_name(KEY) != digest_name(KEY.upper())
    for key in (KEY, "\u00e4\u20ac", "\udcff", "two words", "x" * 100_000):
        assert digest_name(key) == session_names._digest_name(key)  # one is the extension's
        assert re.fullmatch("[A-Za-z0-9_-]{24}", digest_name(key))


def test_nothing_in_the_pool_or_on_the_way_holds_the_session_key(daemon):
    with Relay(("127.0.0.1", daemon.port("sessions"))) as relay:
        with override_settings(SESSION_CACHE=relay.url, SESSION_CACHE_KEY_FALLBACK=False):
            session = SessionStore()
            session["a"] = 1
            session.save()
            key = session.session_key
            again = SessionStore(key)
            again["a"] += 1
            again.save()
            assert again.exists(key)
            again.delete()
            assert relay.passed_on and not any(key.encode() in each for each in relay.passed_on)


def test_a_session_of_the_earlier_version_is_found(earlier):
    assert earlier.exists(KEY)
    assert dict(earlier.items()) == DATA
    assert pool.get(EARLIER) is not None


def test_a_save_moves_it_to_its_digest(earlier):
    earlier["visits"] += 1
    earlier.save()
    assert pool.get(EARLIER) is None
    assert pool.get(digest_name(KEY))[0] == 1
    assert SessionStore(KEY)["visits"] == 2
    earlier["visits"] += 1
    earlier.save()
    assert SessionStore(KEY)["visits"] == 3


def test_a_save_that_was_not_loaded_moves_it_too(daemon):
    leave_earlier()
    session = SessionStore(KEY)
    session._session_cache = {"visits": 7}
    session.save()
    assert SessionStore(KEY)["visits"] == 7
    assert pool.get(EARLIER) is None


def test_it_gets_the_end_that_the_save_gives(earlier, daemon):
    earlier.set_expiry(50)
    earlier.save()
    left_s = int(daemon.connect("sessions").ask(b"mg %b t\r\n" % digest_name(KEY).encode())
                 .split(b"t")[-1])
    assert 48 <= left_s <= 50


def test_a_save_that_ends_it_ends_both(earlier):
    pool.set(digest_name(KEY), b"{}")
    earlier.load()
    earlier.set_expiry(-1)
    earlier.save()
    assert pool.get_many([EARLIER, digest_name(KEY)]) == {}


@pytest.mark.parametrize("end", [SessionStore.delete, SessionStore.flush, SessionStore.cycle_key])
@pytest.mark.parametrize("is_both", [False, True])
def test_a_logout_ends_both(earlier, end, is_both):
    if is_both:
        pool.set(digest_name(KEY), b"{}")
    end(earlier)
    assert pool.get_many([EARLIER, digest_name(KEY)]) == {}
    assert not SessionStore().exists(KEY)


def test_a_new_key_keeps_its_data(earlier):
    earlier.cycle_key()
    assert dict(SessionStore(earlier.session_key).items()) == DATA


def test_a_save_after_the_logout_brings_nothing_back(earlier):
    earlier["visits"] += 1
    SessionStore().delete(KEY)
    with pytest.raises(UpdateError):
        earlier.save()
    assert not SessionStore().exists(KEY)


def test_a_session_is_not_created_under_a_taken_key(earlier):
    with pytest.raises(CreateError):
        SessionStore(KEY).save(must_create=True)
    assert dict(SessionStore(KEY).items()) == DATA


def test_two_requests_that_loaded_it_both_save(earlier):
    other = SessionStore(KEY)
    earlier["visits"], other["visits"] = 2, 3
    earlier.save()
    other.save()
    assert SessionStore(KEY)["visits"] == 3
    earlier["visits"] = 4
    earlier.save()
    assert SessionStore(KEY)["visits"] == 4


def test_saves_and_a_logout_at_the_same_time_on_a_real_daemon(daemon):
    """test_session_moves.py tests the orders of requests; this test uses the daemon's real CAS numbers."""

    def save(session, barrier, results):
        barrier.wait(10)
        try:
            session.save()
            results.append("saved")
        except UpdateError:
            results.append("gone")

    for number in range(100):
        key = f"{number:032}"
        pool.set("1" + key, b'{"visits":0}', ttl_s=1000)
        sessions = [SessionStore(key) for _ in range(3)]
        for visits, session in enumerate(sessions):
            session["visits"] = visits
        barrier, results = threading.Barrier(4), []
        threads = [
            threading.Thread(target=save, args=(session, barrier, results)) for session in sessions
        ]
        for thread in threads:
            thread.start()
        barrier.wait(10)
        if number % 2:
            SessionStore(key).delete()
        for thread in threads:
            thread.join()
        assert len(results) == 3
        if number % 2:
            assert not SessionStore().exists(key)
        else:
            assert SessionStore().exists(key) and "gone" not in results


def test_without_the_fallback_the_earlier_name_is_nobodys(earlier):
    with override_settings(SESSION_CACHE_KEY_FALLBACK=False):
        assert not SessionStore().exists(KEY)
        assert dict(SessionStore(KEY).items()) == {}
        SessionStore(KEY).delete()
    assert pool.get(EARLIER) is not None


@pytest.fixture
def keep():
    with override_settings(SESSION_CACHE_KEY_FALLBACK="keep"):
        yield


def test_a_process_that_keeps_writes_what_version_0_1_reads(earlier, keep):
    earlier = SessionStore(KEY)
    earlier["visits"] += 1
    earlier.save()
    new = SessionStore()
    new.update(DATA)
    new.save()
    for key, visits in ((KEY, 2), (new.session_key, 1)):
        assert json.loads(pool.get("1" + key)) == {**DATA, "visits": visits}
        assert pool.get(digest_name(key)) is None
        assert SessionStore().exists(key)
        with pytest.raises(CreateError):
            SessionStore(key).save(must_create=True)
    assert new.cache_key == "1" + new.session_key
    with override_settings(SESSION_CACHE_KEY_FALLBACK=True):
        SessionStore(KEY).save()
        assert pool.get(EARLIER) is None
    again = SessionStore(KEY)
    again["visits"] += 1
    again.save()
    assert pool.get(EARLIER) is None
    assert SessionStore(KEY)["visits"] == 3
    for key in (KEY, new.session_key):
        SessionStore().delete(key)
        assert not SessionStore().exists(key)
        assert pool.get_many(["1" + key, digest_name(key)]) == {}


def test_a_process_that_keeps_saves_a_session_that_another_has_moved_meanwhile(earlier):
    with override_settings(SESSION_CACHE_KEY_FALLBACK="keep"):
        slow = SessionStore(KEY)
        slow["visits"] = 5
    earlier.save()
    slow.save()
    assert pool.get(EARLIER) is None
    assert SessionStore(KEY)["visits"] == 5
    SessionStore().delete(KEY)
    with pytest.raises(UpdateError):
        slow.save()


def test_who_has_read_a_digest_cannot_send_the_rest_of_it_as_an_earlier_key(daemon):
    """One digest in 64 begins with the same digit as earlier names."""
    number = 0
    while not digest_name(f"sessionkey{number}").startswith("1"):
        number += 1
    victim = f"sessionkey{number}"
    pool.set(digest_name(victim), b'{"user":"anna"}')
    assert SessionStore(victim)["user"] == "anna"
    thief = SessionStore(digest_name(victim)[1:])
    assert earlier_name(thief.session_key) is None
    assert dict(thief.items()) == {}
    SessionStore().delete(digest_name(victim)[1:])
    assert SessionStore(victim)["user"] == "anna"


def test_a_cookie_without_a_session_costs_two_requests(daemon):
    with Relay(("127.0.0.1", daemon.port("sessions"))) as relay:
        with override_settings(SESSION_CACHE=relay.url):
            for ask in (SessionStore("a" * 32).load, lambda: SessionStore().exists("a" * 32)):
                del relay.passed_on[:]
                assert not ask()
                assert len([each for each in relay.passed_on if each != b"stayd_map\r\n"]) == 2


@pytest.mark.parametrize("cut_at", range(1, 8))
@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_move_survives_a_broken_connection_at_each_of_its_requests(daemon, moment, cut_at):
    leave_earlier()
    with Relay(("127.0.0.1", daemon.port("sessions"))) as relay:
        with override_settings(SESSION_CACHE=relay.url):
            session = SessionStore(KEY)
            session["visits"] = 2
            inner, asked = session._parts.items._ask, []

            def ask(*request):
                asked.append(request)
                if len(asked) == cut_at:
                    relay.cut(moment)
                return inner(*request)

            session._parts.items._ask = ask
            try:
                session.save()
            finally:
                del session._parts.items._ask
    assert SessionStore(KEY)["visits"] == 2
    assert pool.get(EARLIER) is None
