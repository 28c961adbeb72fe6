"""UserSessionsMiddleware: lists the sessions of users, for stayd.django.sessions.

    INSTALLED_APPS = [..., "stayd.django"]
    MIDDLEWARE = [
        "stayd.django.middleware.UserSessionsMiddleware",   # before SessionMiddleware
        "django.contrib.sessions.middleware.SessionMiddleware",
        ...
    ]

It does its work after SessionMiddleware has saved the session, and before the visitor gets the response.
So a new session is listed before anybody can know its key.

Pages that do not use the session cost nothing. A page that uses it costs a look-up in a dictionary of
this process, and once in SESSION_CACHE_SEEN_EVERY seconds a request to the pool (and one more if no
other process has noted the session meanwhile).
"""

import ipaddress
import logging
import threading
import time
from typing import Any, Optional

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from stayd.django import session_cache, session_list, sessions
from stayd.django.reports import Reports
from stayd.django.session_backend import SessionStore
from stayd.django.session_list import About
from stayd.django.session_names import digest_name, earlier_name
from stayd.errors import Error

SEEN_EVERY_S = 300
"""The default of settings.SESSION_CACHE_SEEN_EVERY."""

LOOK_AGAIN_S = 10
"""A session that version 0.1 stored is listed as soon as it has moved to its digest. This is how often
the middleware checks that."""

MARGIN_S = 60
USER_AGENT_LENGTH = 256
NOTED_SESSIONS = 20_000
"""For at most this many sessions, a process remembers when it has noted them."""

logger = logging.getLogger("stayd")


class UserSessionsMiddleware(MiddlewareMixin):
    """See above."""

    def __init__(self, get_response):
        super().__init__(get_response)
        if not apps.is_installed("stayd.django"):
            raise ImproperlyConfigured(
                f"{sessions.MIDDLEWARE} needs 'stayd.django' in INSTALLED_APPS: without it a change "
                f"of a password would end no session."
            )
        self._reports = Reports()

    def process_response(self, request: Any, response: Any) -> Any:
        """Lists the request's session, and notes when it was seen. If that fails, the fault is logged,
        the page does not fail, and the next response tries again."""
        session = getattr(request, "session", None)
        if isinstance(session, SessionStore) and session.accessed:
            try:
                _note(request, session)
            except Error as error:
                self._report(error)
        return response

    def _report(self, error):
        if self._reports.is_due():
            logger.warning("The sessions of users are listed when the pool takes them: %s", error)


class _Noted:
    """What this process has noted. For each session, by name: until when it needs no further note, and its
    expiry age at the last note; a session with a greater age needs a note before then. The oldest notes
    are dropped."""

    def __init__(self):
        self._lock = threading.Lock()
        self._by_name: dict[str, tuple[float, int]] = {}

    def covers(self, name, now, age_s):
        """True if the session needs no note now."""
        until, noted_age_s = self._by_name.get(name, (0, 0))
        return now < until and age_s <= noted_age_s

    def keep(self, name, until, age_s):
        with self._lock:
            self._by_name.pop(name, None)
            self._by_name[name] = (until, age_s)
            if len(self._by_name) > NOTED_SESSIONS:
                del self._by_name[next(iter(self._by_name))]

    def clear(self):
        with self._lock:
            self._by_name.clear()


noted = _Noted()


@receiver(setting_changed)
def _forget(**_):
    """Called after a change of the settings, as tests make them."""
    noted.clear()


def _note(request, session):
    old_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    logged_out = getattr(request, "stayd_logged_out", None)
    if logged_out is not None and old_key:
        name = digest_name(old_key)
        client = session_cache.client()
        session_list.delete_about(client, name)
        for list_name in session_list.list_names(logged_out):
            session_list.remove(client, list_name, [name])
    user_id = session.get(SESSION_KEY)
    if session.session_key is None or user_id is None:
        return
    name = digest_name(session.session_key)
    age_s, now = session.get_expiry_age(), int(time.time())
    if age_s > 0 and not noted.covers(name, now, age_s):
        _note_seen(request, session.session_key, name, str(user_id), age_s, now)


def _note_seen(request, session_key, name, user_id, age_s, now):
    """Lists the session if it is not yet listed, and stores that it was seen, unless another process
    has stored that in the last SESSION_CACHE_SEEN_EVERY seconds."""
    client = session_cache.client()
    every_s = max(1, int(getattr(settings, "SESSION_CACHE_SEEN_EVERY", SEEN_EVERY_S)))
    # A save at any time before the next note lets the session live for `age_s` from then.
    needed_until = now + age_s + every_s + MARGIN_S
    about = session_list.read_about(client, [name]).get(name)
    lasts_until = 0 if about is None else about.lasts_until
    if lasts_until < needed_until:
        lasts_until = _list(client, request, session_key, name, user_id,
                            needed_until + age_s // 4 + every_s)
        if not lasts_until:
            noted.keep(name, now + min(every_s, LOOK_AGAIN_S), age_s)
            return
    elif about is not None and about.seen + every_s > now:
        noted.keep(name, about.seen + every_s, age_s)
        return
    new = About(now, lasts_until, _client_ip(request), _user_agent(request))
    session_list.write_about(client, name, new, needed_until - now)
    noted.keep(name, now + every_s, age_s)


def _list(client, request, session_key, name, user_id, lasts_until):
    """Adds the session to its user's list. Returns the list's expiry, or 0 if there is no such session
    under its digest."""
    old_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    old_name = digest_name(old_key) if old_key else name
    living = session_list.living_of(client, {name, old_name})
    if name not in living:
        return 0
    ended = None
    if old_name not in living:  # the session has a new key since this request
        ended = old_name
        session_list.delete_about(client, ended)
    if getattr(settings, "SESSION_CACHE_KEY_FALLBACK", True):
        # A session that version 0.1 stored has moved to its digest. An item may be left under its
        # earlier name. Only code that has the session key can remove that item.
        earlier = earlier_name(session_key, SessionStore.cache_key_prefix)
        if earlier is not None:
            client.delete(earlier)
    list_name = session_list.list_names(user_id)[0]
    most = max(1, getattr(settings, "SESSION_CACHE_USER_MAX", sessions.MAX_SESSIONS))
    listing, too_many = session_list.add(client, list_name, name, ended, lasts_until, most)
    for each in too_many:
        session_list.delete(client, each)
    if too_many:
        logger.warning(
            "User %s has more than %d sessions (SESSION_CACHE_USER_MAX): the oldest have ended: %d",
            user_id, most, len(too_many),
        )
    return listing.lasts_until


def _client_ip(request) -> str:
    """The address that SESSION_CACHE_CLIENT_IP returns, by default that of the connection; "" if it is
    not an IP address."""
    finder: Optional[str] = getattr(settings, "SESSION_CACHE_CLIENT_IP", None)
    text = import_string(finder)(request) if finder else request.META.get("REMOTE_ADDR")
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return ""


def _user_agent(request) -> str:
    """The header's printable characters, up to USER_AGENT_LENGTH."""
    text = request.META.get("HTTP_USER_AGENT", "")[: 4 * USER_AGENT_LENGTH]
    return "".join(each if each.isprintable() else " " for each in text)[:USER_AGENT_LENGTH]
