"""The lists of users' sessions in the sessions pool. The public interface is stayd.django.sessions.

Two kinds of items, beside the sessions:

    users:...   the list of a user: one entry for each session, its name in the pool (a digest of the
                session key, stayd.django.session_names) and when it was listed
    about:...   what is known of a session: when it was last seen, from where, with which browser

A list is changed with CAS only: a process reads the list, and stores the next version if no other
process has stored a version meanwhile. So no entry is lost if many processes change a list at the same
time. These are the rules:

- An entry is added when its session is in the pool under its digest. So if an entry has no session, the
  session has ended, and any process may remove the entry.
- A reader counts an entry only if its session is in the pool and belongs to this user.
- A list lives longer than each of its sessions. Each save of a session extends the session's life, but
  does not change the list. So the list's own expiry (`lasts_until`) is later than that of its sessions,
  and is extended before a session's expiry comes near it.
- The names are 24 characters long, as digests are, and contain a colon, as no digest does. So no
  cookie can name such an item: stayd.django.session_names.earlier_name refuses this length.
"""

import base64
import json
import random
import struct
import time
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Optional

from django.conf import settings
from django.utils.crypto import salted_hmac

from stayd.client import Client
from stayd.django.session_items import RESERVATION
from stayd.django.session_names import NAME_LENGTH
from stayd.errors import OutcomeUnknown, UnreadableValue
from stayd.packing import pack, unpack, wrap
from stayd.repetition import PAUSE_S, TRIES, ask_again

LIST_PREFIX, ABOUT_PREFIX = "users:", "about:"

CAS_TRIES = 1000
"""A try fails only if another process has changed the list meanwhile."""

CHECK_FROM = 16
"""A list with this many entries is searched for ended sessions, and again each time that it has
doubled."""

_FORM = 1
_HEAD = struct.Struct("<BQI")  # form, lasts_until, number of entries after the last search
_ENTRY = struct.Struct("<18sI")  # digest, when it was listed


class Listing(NamedTuple):
    """One version of a user's list."""

    entries: dict[str, int]
    """For each name of a session: when it was listed, in Unix seconds. The oldest is first."""
    lasts_until: int = 0
    """The list's expiry, in Unix seconds."""
    searched: int = 0
    """The number of entries after the last search for ended sessions."""


class About(NamedTuple):
    """What is known about a session. Times are Unix seconds."""

    seen: int
    lasts_until: int
    """The list that contains the session expires at this time or later."""
    ip: str
    user_agent: str


def list_names(user_id: str) -> list[str]:
    """The names of a user's lists. The first name is made with settings.SECRET_KEY, and new entries
    are stored there; the others are made with SECRET_KEY_FALLBACKS.

    A name depends on the site's secret, because two sites may share a pool, and both have a user 1.
    """
    secrets = [settings.SECRET_KEY, *getattr(settings, "SECRET_KEY_FALLBACKS", ())]
    return [_list_name(user_id, secret) for secret in secrets]


def _list_name(user_id, secret):
    text = f"{settings.AUTH_USER_MODEL}:{user_id}"
    digest = salted_hmac("stayd.sessions", text, secret=secret, algorithm="sha256").digest()
    text = base64.urlsafe_b64encode(digest).decode()
    return (LIST_PREFIX + text)[:NAME_LENGTH]


def about_name(name: str) -> str:
    """The name of the item about a session, whose own name is given."""
    return (ABOUT_PREFIX + name)[:NAME_LENGTH]


def read(client: Client, list_name: str) -> Listing:
    """The list as it is stored now. Some of its sessions may have ended."""
    return _parsed(client.get(list_name))


def change(
    client: Client, list_name: str, next_version: Callable[[Listing], Optional[Listing]]
) -> Listing:
    """Replaces the list by the result of `next_version`, and returns the list that is stored then. If
    the result is None, nothing is changed. If another process has changed the list meanwhile,
    `next_version` is called again."""
    unknown = 0
    for attempt in range(CAS_TRIES):
        value, number = client.gets(list_name)
        listing = _parsed(value)
        changed = next_version(listing)
        if changed is None:
            return listing
        try:
            if _stored(client, list_name, number, changed):
                return changed
        except OutcomeUnknown as error:
            # The next turn reads whether the change was made. It may be made twice.
            unknown += 1
            if unknown == TRIES or error.timed_out:
                raise
            time.sleep(PAUSE_S)
        if attempt > 2:  # many processes change the list: wait for a random time
            time.sleep(random.uniform(0, 0.001 * min(attempt, 20)))
    raise OutcomeUnknown(
        f"{client.url}: {CAS_TRIES} other requests changed this user's list while one did."
    )


def add(client: Client, list_name: str, name: str, ended: Optional[str], lasts_until: int,
        most: int) -> tuple[Listing, list[str]]:
    """Adds the session `name`, in place of the session `ended` if that is listed. The list then lasts
    until `lasts_until`. Returns the list and the names of the oldest sessions above `most`, which are no
    longer in the list."""
    too_many: list[str] = []

    def next_version(listing: Listing) -> Optional[Listing]:
        too_many.clear()
        entries, searched = dict(listing.entries), listing.searched
        entries.pop(ended or "", None)
        entries.setdefault(name, int(time.time()))
        if len(entries) >= max(CHECK_FROM, 2 * searched) or len(entries) > most:
            living = living_of(client, entries)
            entries = {each: listed for each, listed in entries.items() if each in living}
            searched = len(entries)
        while len(entries) > most:
            oldest = next(iter(entries))
            del entries[oldest]
            too_many.append(oldest)
        changed = Listing(entries, max(listing.lasts_until, lasts_until), searched)
        return None if changed == listing else changed

    return change(client, list_name, next_version), too_many


def remove(client: Client, list_name: str, names: Iterable[str]) -> None:
    """Removes the entries of these sessions."""
    gone = set(names)

    def next_version(listing: Listing) -> Optional[Listing]:
        if gone.isdisjoint(listing.entries):
            return None
        left = {each: listed for each, listed in listing.entries.items() if each not in gone}
        return listing._replace(entries=left)

    change(client, list_name, next_version)


def living_of(client: Client, names: Iterable[str]) -> dict[str, bytes]:
    """The stored values of those sessions that have not ended."""
    values = client.get_many(list(names))
    return {name: value for name, value in values.items() if value != RESERVATION}


def read_about(client: Client, names: Iterable[str]) -> dict[str, About]:
    """What is known about these sessions, by their names."""
    by_item = {about_name(name): name for name in names}
    found = {}
    for item, value in client.get_many(list(by_item)).items():
        about = _parsed_about(value)
        if about is not None:
            found[by_item[item]] = about
    return found


def write_about(client: Client, name: str, about: About, ttl_s: int) -> None:
    """Stores what is known about a session."""
    data = json.dumps(about, separators=(",", ":")).encode()
    compress = getattr(settings, "SESSION_CACHE_COMPRESS", True)
    client.set(about_name(name), pack(data) if compress else wrap(data), ttl_s)


def delete(client: Client, name: str) -> bool:
    """Ends a session: True if it had not ended. Sent again if the connection breaks, because a name
    is never used again."""
    there_was = ask_again(client.delete, name)
    delete_about(client, name)
    return there_was


def delete_about(client: Client, name: str) -> None:
    """Removes what is known about a session that has ended."""
    ask_again(client.delete, about_name(name))


def _stored(client, list_name, number, listing):
    """True if the list has replaced the version with this number (None: there must be no version)."""
    if not listing.entries:
        # A list without entries is removed: it expires at once, because `delete` would also remove a
        # later version.
        return number is None or client.cas(list_name, b"", number, 0) is True
    value = _HEAD.pack(_FORM, listing.lasts_until, listing.searched) + b"".join(
        _ENTRY.pack(base64.urlsafe_b64decode(name), listed)
        for name, listed in listing.entries.items()
    )
    ttl_s = max(1, listing.lasts_until - int(time.time()))
    if number is None:
        return client.add(list_name, value, ttl_s)
    return client.cas(list_name, value, number, ttl_s) is True


def _parsed(value):
    """The Listing in a stored value; an empty Listing if the value is not a list of this version."""
    if value is None or len(value) < _HEAD.size:
        return Listing({})
    form, lasts_until, searched = _HEAD.unpack_from(value)
    body = value[_HEAD.size :]
    if form != _FORM or len(body) % _ENTRY.size:
        return Listing({})
    encode = base64.urlsafe_b64encode
    entries = {encode(digest).decode(): listed for digest, listed in _ENTRY.iter_unpack(body)}
    return Listing(entries, lasts_until, searched)


def _parsed_about(value: bytes) -> Optional[About]:
    try:
        fields: Any = json.loads(unpack(value))
        about = About(*fields)
    except (ValueError, TypeError, UnreadableValue):
        return None
    numbers = all(type(each) is int for each in about[:2])
    return about if numbers and all(type(each) is str for each in about[2:]) else None
