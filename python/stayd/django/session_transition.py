"""Sessions while a site moves to stayd: those that stayd does not have are read from the back end that
kept them before, which SESSION_CACHE_MIGRATE_FROM names (stayd.django.session_sources).

The earlier back end is kept as it would be without stayd, so that processes of the site that still
use it keep their users logged in, and the site can go back:

- A session that stayd does not have is copied from there.
- What is saved is saved in both, in stayd first.
- What is deleted is deleted in both, there first.
"""

import logging
import time

from stayd.django.reports import Reports
from stayd.django.session_items import (
    MOVE_TRIES,
    RESERVATION,
    RESERVATION_S,
    Found,
    ReservingSessionItems,
)
from stayd.django.session_names import digest_name
from stayd.django.session_sources import Source, portable

logger = logging.getLogger("stayd")


class TransitionSessionItems(ReservingSessionItems):
    """As SessionItems, beside an earlier back end.

    After `delete` has returned, no request that is under way brings the session back, although a copy
    is two steps, a read there and a write here. This is the protocol of MovingSessionItems: a copy
    first adds a reservation under the digest and notes its CAS number, then reads the session there,
    and then replaces the reservation if it still has that number. A deletion removes the session there
    first, and then whatever is under the digest. So either the copy finds no session, or its number is
    outdated.
    """

    def __init__(self, client, source: Source):
        super().__init__(client)
        self._source = source
        self._reports = Reports()

    def find(self, session_key):
        found = super().find(session_key)
        if found is None and self._source.find(session_key) is not None:
            found = self._copy(session_key)
        return found

    def add(self, session_key, value, age_s):
        if not super().add(session_key, value, age_s):
            return False
        self._keep_there(session_key, value, age_s)
        return True

    def save(self, session_key, value, age_s, found):
        name = digest_name(session_key)
        if age_s <= 0:
            self._source.delete(session_key)
            return bool(self._ask_again(self._client.delete, name))
        if not self._overwrite(name, value, age_s, found and found.number):
            if self.find(session_key) is None or not self._overwrite(name, value, age_s, None):
                return False
        self._keep_there(session_key, value, None)
        return True

    def delete(self, session_key):
        self._source.delete(session_key)
        self._ask_again(self._client.delete, digest_name(session_key))

    def _store(self):
        """A session store, for its encode and decode."""
        from stayd.django.session_backend import SessionStore  # which needs these items

        return SessionStore()

    def _copy(self, session_key):
        """Copies the session from there; None if it has ended meanwhile."""
        name = digest_name(session_key)
        for _ in range(MOVE_TRIES):
            self._ask_again(self._client.add, name, RESERVATION, RESERVATION_S)
            value, number = self._ask(self._client.gets, name)
            if value is not None and value != RESERVATION:
                return Found(value, number, False)
            stored = self._source.find(session_key)
            age_s = 0 if stored is None else stored.expires_s - int(time.time())
            if stored is None or age_s <= 0:
                return None
            if number is not None:
                value = self._store().encode(portable(stored.data))
                if self._cas(name, value, age_s, number):
                    return Found(value, None, False)
        raise self._too_often()

    def _keep_there(self, session_key, value, new_age_s):
        """Stores the session there too (`new_age_s`: the age of a new one). A fault there must not fail
        a request whose session is saved: it is logged."""
        try:
            data = self._store().decode(value)
            if new_age_s is not None:
                self._source.insert(session_key, data, int(time.time()) + new_age_s)
                return
            self._source.update(session_key, data)
            if self._gets(digest_name(session_key)) == (None, None):
                self._source.delete(session_key)  # it was deleted, maybe between two steps of `update`
        except Exception as error:
            if self._reports.is_due():
                logger.warning(
                    "A session is saved in stayd, but not in SESSION_CACHE_MIGRATE_FROM (%s): %s",
                    self._source.name, error,
                )
