"""The parts that all stores of one class share, looked up in the settings once.

Django makes a store for each request. It needs a microsecond to find out that a site leaves out a
setting, and json.loads and json.dumps take longer outside of their C functions than in them. So this
module also has the shortest way to a session that is JSON and is in the daemon's shared memory: one
call of the extension. In every unusual case, the caller takes the longer way with the serializer's own
methods, which also finds out what is wrong.
"""

import functools
import json.decoder
import json.encoder
from typing import Any

from django.conf import settings
from django.core.signing import JSONSerializer
from django.utils.module_loading import import_string

from stayd import packing
from stayd.django import session_cache
from stayd.django.session_items import KeepingSessionItems, MovingSessionItems, SessionItems
from stayd.django.session_serializer import require_safe


class Parts:
    """See the module's first lines."""

    __slots__ = ("client", "dumps", "has_plain_age", "items", "load_mapped", "pack", "serializer")

    def __init__(self, prefix, reads_as_stored, has_plain_age):
        """`prefix`: of earlier names. `reads_as_stored`: False if the class has a `decode` of its
        own. `has_plain_age`: False if it has a `get_expiry_age` of its own."""
        self.serializer = import_string(settings.SESSION_SERIALIZER)
        require_safe(self.serializer)
        client = self.client = session_cache.client()
        self.items = _items(client, prefix)
        self.has_plain_age = has_plain_age
        self.dumps = _new_dumps(self.serializer)
        self.load_mapped: Any = _nothing
        if reads_as_stored and client.backend == "native" and packing.can_pack:
            self.load_mapped = _new_load_mapped(client, self.serializer)
        compresses = getattr(settings, "SESSION_CACHE_COMPRESS", True)
        self.pack = packing.pack if compresses else packing.wrap


def _items(client, prefix):
    """The SessionItems that the settings ask for."""
    source = getattr(settings, "SESSION_CACHE_MIGRATE_FROM", None)
    if not source:
        return _items_of(client, getattr(settings, "SESSION_CACHE_KEY_FALLBACK", True), prefix)
    from stayd.django.session_sources import named
    from stayd.django.session_transition import TransitionSessionItems

    return TransitionSessionItems(client, named(source))


@functools.cache
def _items_of(client, fallback, prefix):
    """`fallback`: the setting SESSION_CACHE_KEY_FALLBACK. `prefix`: the prefix of earlier names."""
    if not fallback:
        return SessionItems(client)
    return (KeepingSessionItems if fallback == "keep" else MovingSessionItems)(client, prefix)


def _nothing(session_key):
    return None


_json_loads, _json_dumps = JSONSerializer.loads, JSONSerializer.dumps


def _new_load_mapped(client, serializer):
    """A function of the session key that returns (session, CAS number), or None if the longer way is
    needed."""
    sessions_1 = packing.sessions_1()
    if getattr(serializer, "loads", None) is _json_loads:
        scan = getattr(json.decoder.JSONDecoder(), "scan_once")  # noqa: B009  (mypy does not know it)
        return functools.partial(client.get_session, sessions_1, scan)

    def load_mapped(session_key):
        found = client.get_session(sessions_1, None, session_key)
        if found is not None:
            try:
                session = serializer().loads(found[0])
            except Exception:
                return None
            if isinstance(session, dict):
                return session, found[1]
        return None

    return load_mapped


def _new_dumps(serializer):
    """A function of the session that returns it serialized, as bytes."""

    def dumps(session):
        return serializer().dumps(session)

    encoder: Any = json.encoder  # the parts of json.dumps, which have no types
    encode: Any = getattr(encoder, "c_make_encoder", None)
    if encode is None or getattr(serializer, "dumps", None) is not _json_dumps:
        return dumps
    # json.dumps makes such an encoder for each call. Without `markers`, a dict that contains itself
    # ends in RecursionError.
    encode = encode(
        None, encoder.JSONEncoder().default, encoder.encode_basestring_ascii, None, ":", ",", False,
        False, True,
    )

    def dumps_json(session):
        try:
            return "".join(encode(session, 0)).encode("latin-1")
        except Exception:
            return dumps(session)  # raises what JSONSerializer raises

    return dumps_json
