"""A session that one call reads from shared memory is the same as a session that was read the usual way."""

import json
import logging

import pytest
from django.contrib.sessions.serializers import JSONSerializer
from django.test.utils import override_settings
from stayd import client, packing
from stayd.django.session_backend import SessionStore
from stayd.django.session_cache import cache as pool
from stayd.django.session_items import RESERVATION
from stayd.errors import UnreadableValue

if client.extension is None:
    pytest.skip(f"stayd._client: {client.WITHOUT_EXTENSION}", allow_module_level=True)

KEY = "k" * 32
LARGE = {"filler": "ä😀x" * 40_000}
VALUES = {
    "usual": packing.pack(b'{"user":"anna","visits":12,"basket":{"a":[1,2.5,null,true]}}'),
    "plain": b'{"user":"anna"}',
    "empty dict": b"{}",
    "large": packing.pack(json.dumps(LARGE, separators=(",", ":")).encode()),
    "large and plain": json.dumps(LARGE).encode(),
    "spaces": b' {"a": 1} \n',
    "not a number": b'{"a":NaN,"b":Infinity}',
    "bytes above 127": b'{"a":"\xe4\xff"}',
    "huge number": b'{"a":' + b"9" * 400 + b"}",
    "empty": b"",
    "a list": b"[1]",
    "a number": b"12",
    "two values": b'{"a":1}{"b":2}',
    "cut": b'{"user":"an',
    "deep": b'{"a":' * 100_000,
    "wrapped": b'\x00{"a":1}',
    "damaged": b"\x01" + b"no frame",
    "of a later version": b"\x07{}",
    "reservation": RESERVATION,
    "not text": bytes(range(32, 256)),
}


def outcome(load, caplog):
    caplog.clear()
    try:
        return load(), [record.getMessage() for record in caplog.records]
    except UnreadableValue as error:
        return str(error)


@pytest.mark.parametrize("name", VALUES)
def test_each_value_is_read_as_by_the_general_way(daemon, caplog, name):
    caplog.set_level(logging.WARNING)
    session = SessionStore(KEY)
    pool.set(session.cache_key, VALUES[name])
    pool.get(session.cache_key)  # the pool is mapped now
    general = SessionStore(KEY)
    expected = outcome(general._load, caplog)
    assert repr(outcome(session.load, caplog)) == repr(expected)  # a NaN is not equal to itself
    assert session.session_key == general.session_key
    assert session._number == general._number


def test_usual_sessions_take_the_short_way(saved):
    saved["filler"] = LARGE
    saved.save()
    SessionStore(saved.session_key).load()  # the pool is mapped now
    assert SessionStore(saved.session_key)._load_mapped() == {"user": "anna", "filler": LARGE}
    assert SessionStore("a" * 32)._load_mapped() is None


def test_a_session_of_the_short_way_is_saved_over_its_own_version(saved):
    SessionStore(saved.session_key).load()
    session = SessionStore(saved.session_key)
    assert session._load_mapped() is not None
    assert session._number == pool.gets(session.cache_key)[1]
    session["visits"] = 1
    session.save()
    assert session._number is None
    assert SessionStore(saved.session_key)["visits"] == 1


class Shouting(JSONSerializer):
    def loads(self, data):
        return {name.upper(): value for name, value in super().loads(data).items()}


class Decoding(SessionStore):
    def decode(self, session_data):
        return {"decoded": super().decode(session_data)}


class Choosing(SessionStore):
    def __init__(self, session_key=None):
        super().__init__(session_key)
        self.serializer = Shouting


def test_a_site_s_own_serializer_and_decode_are_used(saved):
    SessionStore(saved.session_key).load()
    assert Decoding(saved.session_key).load() == {"decoded": {"user": "anna"}}
    assert Choosing(saved.session_key).load() == {"USER": "anna"}
    with override_settings(SESSION_SERIALIZER=f"{__name__}.Shouting"):
        session = SessionStore(saved.session_key)
        assert session._load_mapped() == session._load() == {"USER": "anna"}


class Fading(SessionStore):
    def get_expiry_age(self, **kwargs):
        return 0


def test_a_site_s_own_age_is_used(daemon):
    session = Fading()
    session["user"] = "anna"
    session.save()
    assert not SessionStore().exists(session.session_key)


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"a": "ä😀\ud800\x00\"\\/", "b": [1, -2, 3.25, 1e300, None, True, False]},
        {"nan": float("nan"), "inf": float("-inf"), "big": 10**50, "tuple": (1, (2,))},
        {1: "int", None: "none", False: "bool", 2.5: "float"},
        {"nested": {"deep": [[[[{}]]]]}},
    ],
)
def test_sessions_are_serialized_as_django_does(daemon, session):
    store = SessionStore()
    assert packing.unpack(store.encode(session)) == JSONSerializer().dumps(session)


def test_what_django_cannot_serialize_is_refused_with_its_reason(daemon):
    ring: dict = {}
    ring["self"] = ring
    for session, reason in (
        ({"user": object()}, "'user'.*not JSON serializable"),
        ({"ring": ring}, "'ring'"),
        ({(1, 2): 3}, "keys must be"),
    ):
        with pytest.raises(TypeError, match=reason):
            SessionStore().encode(session)
    assert packing.unpack(SessionStore().encode({"a": 1})) == b'{"a":1}'


def test_the_extension_refuses_what_is_no_packing(daemon, saved):
    get_session = saved._cache.get_session
    for arguments in ((), (None, None, KEY), (packing.sessions_1(), None)):
        with pytest.raises(TypeError):
            get_session(*arguments)
    raw = client.extension.Packing.__new__(client.extension.Packing)
    with pytest.raises(TypeError):
        get_session(raw, None, KEY)
    with pytest.raises(TypeError):
        get_session(packing.sessions_1(), None, KEY.encode())
