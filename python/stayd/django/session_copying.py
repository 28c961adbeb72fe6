"""Copies all sessions of a back end: what `manage.py stayd_migrate_sessions` does.

The copy skips sessions that are already in the new place. So a second run continues a copy that was
interrupted, and changes nothing after a complete copy.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Optional, Union

from stayd.client import Client
from stayd.django.session_items import RESERVATION, RESERVATION_S
from stayd.django.session_names import digest_name
from stayd.django.session_sources import Key, Source, Stored, Unreadable, portable
from stayd.errors import ValueTooLarge
from stayd.repetition import ask_again

COPY_TRIES = 5


@dataclass
class Counts:
    """How many sessions were copied, skipped and refused."""

    copied: int = 0
    there: int = 0
    ended: int = 0
    unreadable: int = 0
    refused: int = 0
    last_refusal: str = ""

    WORDS = {
        "copied": "copied", "there": "already there", "ended": "ended or expired meanwhile",
        "unreadable": "unreadable (damaged, or signed with another SECRET_KEY)",
        "refused": "refused",
    }

    @property
    def total(self) -> int:
        """All sessions so far."""
        return self.copied + self.there + self.ended + self.unreadable + self.refused

    def lines(self) -> Iterator[str]:
        """The counts as text: the first two, and those that are not 0."""
        for field in fields(self):
            words = self.WORDS.get(field.name)
            count = getattr(self, field.name)
            if words and (count or field.name in ("copied", "there")):
                yield f"{count:>10,} {words}"
        if self.last_refusal:
            yield f"{'':>10} the last refusal: {self.last_refusal}"

    def refuse(self, name: str, error: Exception) -> None:
        """Counts a session that cannot be stored. `name`: its digest."""
        self.refused += 1
        self.last_refusal = f"{name}: {error}"


class PoolTarget:
    """Copies into the sessions pool, with the protocol of stayd.django.session_transition but for many
    sessions at a time. So changes that the site makes meanwhile are not lost."""

    def __init__(self, client: Client, store: Any) -> None:
        """`store`: a SessionStore of stayd, for its serializer."""
        self._client, self._store = client, store

    def copy(self, source: Source, keys: list[Key], counts: Counts) -> None:
        """Copies these sessions."""
        left = keys
        for _ in range(COPY_TRIES):
            if not left:
                return
            left = self._copy_once(source, left, counts)
        for key in left:
            counts.refuse(digest_name(key.session_key), TimeoutError("its reservation expired each time"))

    def _copy_once(self, source, keys, counts) -> list[Key]:
        """Copies these sessions. Returns those that were not copied: their reservations expired before
        they were used, as may happen on an overloaded machine, or were deleted by a logout."""
        left = []
        numbers = self._reserve(keys, counts)
        found = source.find_many(numbers)
        for key, number in numbers.items():
            name = digest_name(key.session_key)
            value = encoded(self._store, name, found.get(key.session_key), counts)
            if value is not None and not self._store_one(name, value, number, counts):
                left.append(key)
        return left

    def count(self, source: Source, keys: list[Key], counts: Counts) -> None:
        """Counts what `copy` would do."""
        there = self._there(keys)
        missing = [key for key in keys if digest_name(key.session_key) not in there]
        counts.there += len(keys) - len(missing)
        found = source.find_many(missing)
        for key in missing:
            name = digest_name(key.session_key)
            if encoded(self._store, name, found.get(key.session_key), counts) is not None:
                counts.copied += 1

    def _there(self, keys):
        values = self._client.get_many([digest_name(key.session_key) for key in keys])
        return {name for name, value in values.items() if value != RESERVATION}

    def _reserve(self, keys, counts) -> dict[Key, int]:
        """Adds a reservation for each session that is not in the pool; returns their CAS numbers. A second
        `add` or `cas` changes nothing, so each is sent again when its connection breaks."""
        there = self._there(keys)
        numbers: dict[Key, int] = {}
        for key in keys:
            name = digest_name(key.session_key)
            value, number = None, None
            if name not in there:
                ask_again(self._client.add, name, RESERVATION, RESERVATION_S)
                value, number = self._client.gets(name)
            if value == RESERVATION and number is not None:
                numbers[key] = number
            else:
                counts.there += 1
        return numbers

    def _store_one(self, name, value_and_age, number, counts):
        """False if there is no longer an item under this name."""
        value, age_s = value_and_age
        try:
            stored = ask_again(self._client.cas, name, value, number, age_s)
        except ValueTooLarge as error:
            counts.refuse(name, error)
            return True
        if stored:
            counts.copied += 1
        elif stored is False:
            counts.there += 1  # a page copies it
        return stored is not None


def encoded(
    store: Any, name: str, stored: Optional[Union[Stored, Unreadable]], counts: Counts
) -> Optional[tuple[bytes, int]]:
    """(the session as the pool stores it, its age in seconds). If there is nothing to copy, counts the
    reason and returns None."""
    if isinstance(stored, Unreadable):
        counts.unreadable += 1
        return None
    age_s = 0 if stored is None else stored.expires_s - int(time.time())
    if stored is None or age_s <= 0:
        counts.ended += 1
        return None
    try:
        return store.encode(portable(stored.data)), age_s
    except TypeError as error:
        counts.refuse(name, error)
        return None


class BackendTarget:
    """Copies into one of Django's back ends, for a site that is stopped."""

    def __init__(self, target: Source) -> None:
        self._target = target

    def copy(self, source: Source, keys: list[Key], counts: Counts) -> None:
        """Copies these sessions."""
        self._each(source, keys, counts, self._target.insert)

    def count(self, source: Source, keys: list[Key], counts: Counts) -> None:
        """Counts what `copy` would do."""
        self._each(source, keys, counts, lambda *_: True)

    def _each(self, source, keys, counts, insert):
        there = self._target.find_many(keys)
        counts.there += len(there)
        missing = [key for key in keys if key.session_key not in there]
        found = source.find_many(missing)
        for key in missing:
            stored = found.get(key.session_key)
            if isinstance(stored, Unreadable):
                counts.unreadable += 1
            elif stored is None or stored.expires_s <= time.time():
                counts.ended += 1
            else:
                try:
                    stores = insert(key.session_key, portable(stored.data), stored.expires_s)
                except (TypeError, ValueError) as error:
                    counts.refuse(digest_name(key.session_key), error)
                    continue
                counts.copied += 1 if stores else 0
                counts.there += 0 if stores else 1
