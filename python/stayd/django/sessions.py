"""The live sessions of a user, and their end.

    from stayd.django import sessions

    for each in sessions.for_user(user):
        print(each.id, each.created, each.last_seen, each.ip, each.user_agent)
    sessions.end(user, each.id)
    sessions.end_all(user)
    sessions.end_others(user, request.session.session_key)

This needs stayd.django.middleware.UserSessionsMiddleware in MIDDLEWARE, before SessionMiddleware: the
middleware lists a session in the response that first uses it. docs/django.md describes everything.

All functions raise stayd.ConnectionError if the daemon cannot be reached. Each has an async form,
with an "a" before its name, which waits in a thread.
"""

import datetime
from typing import Any, NamedTuple, Optional

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.utils.module_loading import import_string

from stayd.django import checks, session_cache, session_list
from stayd.django.session_list import About
from stayd.django.session_names import digest_name
from stayd.django.threads import in_thread
from stayd.errors import UnreadableValue

__all__ = [
    "MIDDLEWARE", "UserSession", "aend", "aend_all", "aend_others", "afor_user", "end", "end_all",
    "end_others", "for_user", "is_on",
]

MIDDLEWARE = checks.USER_SESSIONS

MAX_SESSIONS = 10_000
"""The default of settings.SESSION_CACHE_USER_MAX."""


class UserSession(NamedTuple):
    """A live session of a user."""

    id: str
    """The session's name in the pool, a digest of its key: it names the session to `end`, and cannot
    be used as a cookie."""
    created: datetime.datetime
    """When the session was listed: in the response to the login, or in its first response after the
    middleware was switched on."""
    last_seen: datetime.datetime
    """When a response last used the session; it may have been used up to SESSION_CACHE_SEEN_EVERY
    seconds later."""
    ip: str
    """The address from which it was last used, or ""."""
    user_agent: str
    """The browser's own description of itself, at most 256 characters, or "". It may contain
    anything."""
    is_current: bool
    """True if its key is the session key that was given to `for_user`."""


def is_on() -> bool:
    """True if the site lists the sessions of its users."""
    return MIDDLEWARE in settings.MIDDLEWARE


def user_id_of(user: Any) -> str:
    """The user's primary key as Django's login stores it in a session."""
    return user._meta.pk.value_to_string(user)


def for_user(user: Any, session_key: Optional[str] = None) -> list[UserSession]:
    """The live sessions of this user, the last seen first. `session_key`: the key of the request's
    session, which is marked as current."""
    client = session_cache.client()
    user_id = user_id_of(user)
    entries: dict[str, int] = {}
    for list_name in session_list.list_names(user_id):
        entries.update(session_list.read(client, list_name).entries)
    living = session_list.living_of(client, entries)
    decode = _decoder()
    names = [name for name, value in living.items() if _is_of(decode, value, user_id)]
    known = session_list.read_about(client, names)
    current = digest_name(session_key) if session_key else None
    found = []
    for name in names:
        about = known.get(name) or About(entries[name], 0, "", "")
        found.append(UserSession(
            name, _date(entries[name]), _date(max(about.seen, entries[name])), about.ip,
            about.user_agent, name == current,
        ))
    return sorted(found, key=lambda each: (each.last_seen, each.created), reverse=True)


def end(user: Any, session_id: str) -> bool:
    """Ends this session of the user: False if the user has no such session."""
    return _end(user_id_of(user), lambda names: names & {session_id}) > 0


def end_all(user: Any) -> int:
    """Ends all sessions of the user; returns their number."""
    return end_all_of(user_id_of(user))


def end_all_of(user_id: str) -> int:
    """Like end_all, for the user with this primary key, who may have been deleted."""
    return _end(user_id, lambda names: names)


def end_others(user: Any, session_key: Optional[str]) -> int:
    """Ends all sessions of the user but the one with this key; returns their number."""
    kept = {digest_name(session_key)} if session_key else set()
    return _end(user_id_of(user), lambda names: names - kept)


async def afor_user(user: Any, session_key: Optional[str] = None) -> list[UserSession]:
    """Like for_user."""
    return await in_thread(for_user, user, session_key)


async def aend(user: Any, session_id: str) -> bool:
    """Like end."""
    return await in_thread(end, user, session_id)


async def aend_all(user: Any) -> int:
    """Like end_all."""
    return await in_thread(end_all, user)


async def aend_others(user: Any, session_key: Optional[str]) -> int:
    """Like end_others."""
    return await in_thread(end_others, user, session_key)


def _end(user_id, chosen):
    """Ends the sessions that `chosen` picks from the set of the user's names; returns how many of
    them had not ended.

    The sessions end first, and their entries are removed afterwards. A process that dies in between
    leaves entries of ended sessions, which no reader counts.
    """
    client = session_cache.client()
    count = 0
    for list_name in session_list.list_names(user_id):
        names = chosen(set(session_list.read(client, list_name).entries))
        count += sum(1 for name in names if session_list.delete(client, name))
        session_list.remove(client, list_name, names)
    return count


def _decoder():
    """The `decode` of the site's session store."""
    return import_string(f"{settings.SESSION_ENGINE}.SessionStore")().decode


def _is_of(decode, value, user_id):
    """True if the stored session belongs to this user. A session that a later version of this package
    stored cannot be read, and counts as the user's."""
    try:
        return decode(value).get(SESSION_KEY) == user_id
    except UnreadableValue:
        return True


def _date(unix_s):
    return datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc)
