"""Sessions while a site moves to stayd: sessions that stayd does not have are read from the earlier back
end, which SESSION_CACHE_MIGRATE_FROM names (stayd.django.session_sources).

The earlier back end is kept up to date, as it would be without stayd. So users stay logged in to
processes of the site that still use it, and the site can go back:

- A session that stayd does not have is copied from the earlier back end.
- Each save goes to both back ends, to stayd first.
- Each deletion goes to both back ends, to the earlier back end first.
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
    """Like SessionItems, beside an earlier back end.

    After `delete` has returned, no running request brings the session back, although a copy has two
    steps: a read from the earlier back end and a write to stayd. The protocol is that of
    MovingSessionItems. A copy first adds a reservation under the digest and notes its CAS number, then
    reads the session from the earlier back end, and then replaces the reservation if it still has that
    number. A deletion first removes the session from the earlier back end, and then the item under the
    digest. So either the copy finds no session, or its number is outdated.
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
        # imported here, because that module needs this one
        from stayd.django.session_backend import SessionStore

        return SessionStore()

    def _copy(self, session_key):
        """Copies the session from the earlier back end; None if it has ended meanwhile."""
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
        """Stores the session in the earlier back end too (`new_age_s`: the age of a new session). If
        that fails, the fault is logged: the session is saved in stayd, so the request must not fail."""
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
