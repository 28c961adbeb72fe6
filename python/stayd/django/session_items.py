"""Sessions as items of the pool: their names, and how broken requests are handled.

No class of this module keeps data about a session, so a process needs one object only. The classes
raise SessionsUnreachable, SessionOutcomeUnknown and SessionsPoolFull, and the other errors of Client.
"""

import collections
import time

from stayd.django.session_names import EARLIER_PREFIX, digest_name, earlier_name
from stayd.errors import ConnectionError, InvalidKey, OutcomeUnknown, OutOfMemory
from stayd.packing import RESERVED, unpack
from stayd.repetition import PAUSE_S, TRIES

RESERVATION = bytes([RESERVED])
EMPTY = b"{}"
"""A login first stores an empty session under its new key, and then the session."""

RESERVATION_S = 60
MOVE_TRIES = 20
"""A try fails only if another request has succeeded meanwhile."""


class SessionsUnreachable(ConnectionError):
    """The daemon that keeps the sessions cannot be reached, so it is not known who is logged in."""


class SessionOutcomeUnknown(SessionsUnreachable, OutcomeUnknown):
    """The connection broke during a change of this session, and it is not known whether the change
    was made."""


class SessionsPoolFull(OutOfMemory):
    """The sessions pool has no room for a new session. Existing sessions are not affected."""


Found = collections.namedtuple("Found", "value number is_earlier")
"""A stored session: its value, the CAS number of this version, and whether it was found under its
earlier name. `save` does not need the value."""


class SessionItems:
    """Sessions under their digests."""

    def __init__(self, client):
        self._client = client

    def name_of_new(self, session_key):
        """The name under which a new session is stored."""
        return digest_name(session_key)

    def find(self, session_key):
        """The Found of this session; None if there is no such session."""
        value, number = self._gets(digest_name(session_key))
        return None if value is None else Found(value, number, False)

    def is_mapped(self, session_key):
        """True if the memory that the daemon shares has this session; False if only the daemon can tell.
        Never waits."""
        value = self._client.get_mapped(digest_name(session_key))
        return value is not None and value != RESERVATION

    def add(self, session_key, value, age_s):
        """Stores a session under a random key: False if the key is taken."""
        return bool(self._ask(self._client.add, digest_name(session_key), value, age_s))

    def add_under_any_key(self, session_key, value, age_s):
        """Like add, under a key that may have been used before."""
        return SessionItems.add(self, session_key, value, age_s)

    def save(self, session_key, value, age_s, found):
        """Stores the next version: False if the session has ended. `found`: the Found of the
        version that was loaded, or None."""
        return self._replace(digest_name(session_key), value, age_s, found and found.number)

    def delete(self, session_key):
        """Removes the session. Sent again when the connection breaks, because the key of a removed
        session is never used again."""
        self._ask_again(self._client.delete, digest_name(session_key))

    def _gets(self, name):
        """(value, number); (None, None) for a reservation and for an impossible name."""
        try:
            value, number = (None, None) if name is None else self._client.gets_confirmed(name, EMPTY)
        except Exception as error:
            self._raise(error)
            return None, None
        return (None, None) if value == RESERVATION else (value, number)

    def _replace(self, name, value, age_s, number):
        """Replaces the item under the name: False if there is none. `number`: see _save_again."""
        try:
            return bool(self._ask(self._client.replace, name, value, age_s))
        except SessionOutcomeUnknown as error:
            return self._save_again(name, value, age_s, number, error)

    def _save_again(self, name, value, age_s, number, error):
        """After a save without an answer: True if the session is saved now, False if it is gone.

        `number` is the CAS number of the loaded version. While the pool has this version, neither this
        save nor another save has written. So a save with `cas` on this number can safely be sent again
        and again. Raises `error` if the pool has another version, which this save has not written.
        """
        if number:  # 0: a memcached with -C, which has no CAS numbers
            stored = self._ask_again(
                self._client.cas, name, value, number, age_s, timed_out=error.timed_out
            )
            if stored is not False:
                return bool(stored)
        found, _ = self._gets(name)
        if found is not None and found != value:
            raise error
        return found is not None

    def _ask_again(self, request, name, *arguments, timed_out=False):
        """Like `_ask`, for requests that may be carried out twice. Tries up to TRIES times, but only
        once after a timeout (`timed_out`: an earlier request has timed out)."""
        tries = 0
        while True:
            try:
                return self._ask(request, name, *arguments)
            except SessionOutcomeUnknown as error:
                tries += 1
                if tries == TRIES or timed_out:
                    raise
                timed_out = error.timed_out
                time.sleep(PAUSE_S)

    def _ask(self, request, name, *arguments):
        """The result of the Client's method for this name; None if the session cannot have such a
        name (the session key is the cookie's text, which may be anything)."""
        if name is None:
            return None
        try:
            return request(name, *arguments)
        except Exception as error:
            return self._raise(error)

    def _raise(self, error):
        """Raises the session's exception for a request's exception. Returns None if no session can have
        such a name. A function of its own, so that a successful request does not pay for it."""
        if isinstance(error, InvalidKey):
            return None
        if isinstance(error, OutcomeUnknown):
            unknown = SessionOutcomeUnknown(str(error))
            unknown.timed_out = error.timed_out
            raise unknown from error
        if isinstance(error, ConnectionError):
            raise SessionsUnreachable(str(error)) from error
        if isinstance(error, OutOfMemory):
            raise SessionsPoolFull(str(error)) from error
        raise error


class ReservingSessionItems(SessionItems):
    """Sessions under their digests, for a site whose sessions also come from another place. Under a
    digest there may be the reservation of a session that is being copied from there. So sessions are
    saved with `cas`: `replace` could overwrite the reservation of a session that was deleted
    meanwhile."""

    def add_under_any_key(self, session_key, value, age_s):
        """Like SessionItems' methods; `find` may also look in the other place."""
        return self.find(session_key) is None and self.add(session_key, value, age_s)

    def _overwrite(self, name, value, age_s, number):
        """Replaces the session under its digest, whatever its version: False if there is none.
        `number`: the CAS number of the expected version, or None."""
        for _ in range(MOVE_TRIES):
            if number is None:
                _, number = self._gets(name)
                if number is None:
                    return False
            if self._cas(name, value, age_s, number):
                return True
            number = None
        raise self._too_often()

    def _cas(self, name, value, age_s, number):
        """True if the value is stored over the version with this number."""
        try:
            return self._ask(self._client.cas, name, value, number, age_s) is True
        except SessionOutcomeUnknown as error:
            return self._save_again(name, value, age_s, number, error)

    def _too_often(self):
        return SessionOutcomeUnknown(
            f"{self._client.url}: {MOVE_TRIES} other requests saved this session while one did."
        )


class MovingSessionItems(ReservingSessionItems):
    """Sessions under their digests, and, until they are saved, under the names of earlier versions.

    The pool changes only one item at a time, but a session that moves is two items: between the read of
    one item and the write of the other, another request may delete the session. The invariant is: after
    `delete` has returned, no running request restores the session, even if the request is slow or its
    process dies. This is how it is kept:

    - `delete` removes the earlier name first, then the digest.
    - A move adds a reservation (one byte) under the digest and notes its CAS number; then checks that
      the earlier name still exists; then replaces the reservation by the session, if it still has that
      number (`cas`); then removes the earlier name. If a deletion ended before the number was
      noted, it had removed the earlier name, so the move does not find that name, and stops. A deletion
      that ends later removes the reservation, so that the `cas` fails (no later item has the same
      number), or it removes the session that has replaced the reservation.
    - An item under a digest is saved with `cas` too. `replace` could overwrite the reservation of a
      slow move that began before the session was deleted.
    - A reservation counts as no item: if a process dies during a move, nothing is lost, and the
      next move takes over its reservation.
    - A request that does not find the digest looks for the earlier name and then for the digest
      again, because the session may have moved meanwhile.
    - The check for the earlier name also gives it the expiry of the session (`touch`). So if the
      process dies right before the removal, the old item expires with the session.
    """

    def __init__(self, client, prefix=EARLIER_PREFIX):
        super().__init__(client)
        self._prefix = prefix

    def find(self, session_key):
        found = super().find(session_key)
        earlier = earlier_name(session_key, self._prefix)
        if found is None and self._have_any(earlier, digest_name(session_key)):
            value, number = self._gets(earlier)
            if value is not None:
                return Found(value, number, True)
            found = super().find(session_key)
        return found

    def _have_any(self, earlier, name):
        """False if there is no item under either name. One request is enough: the server looks for the
        names in this order, and a session that moves is under its digest before its earlier name is
        removed."""
        if earlier is None:
            return False
        try:
            found = self._client.get_many((earlier, name))
        except Exception as error:
            self._raise(error)
            return False
        return any(value != RESERVATION for value in found.values())

    def save(self, session_key, value, age_s, found):
        name, earlier = digest_name(session_key), earlier_name(session_key, self._prefix)
        if age_s <= 0:
            return self._delete(name, earlier)
        if found is None or not found.is_earlier:
            if self._overwrite(name, value, age_s, found and found.number):
                return True
            if self._gets(earlier) == (None, None):
                # The session was deleted, or has just been moved. A session without an earlier name
                # needs no reservation.
                return self._overwrite(name, value, age_s, None)
        return self._move(name, earlier, value, age_s)

    def delete(self, session_key):
        self._delete(digest_name(session_key), earlier_name(session_key, self._prefix))

    def _delete(self, name, earlier):
        """True if one of the names existed."""
        there_was = [self._ask_again(self._client.delete, each) for each in (earlier, name)]
        return any(there_was)

    def _move(self, name, earlier, value, age_s):
        """Moves the session from its earlier name to its digest: False if it was deleted."""
        for _ in range(MOVE_TRIES):
            try:
                self._ask_again(self._client.add, name, RESERVATION, RESERVATION_S)
            except SessionsPoolFull:  # only new items are refused, and the earlier name has an item
                return self._replace(earlier, unpack(value), age_s, None)
            found, number = self._ask(self._client.gets, name)
            if found is not None and found != RESERVATION:
                self._ask_again(self._client.delete, earlier)
                return self._overwrite(name, value, age_s, number)
            if not self._ask_again(self._client.touch, earlier, age_s):
                if self._gets(name) == (None, None):
                    return False
            elif found is not None and self._cas(name, value, age_s, number):
                self._ask_again(self._client.delete, earlier)
                return True
        raise self._too_often()


class KeepingSessionItems(MovingSessionItems):
    """Like MovingSessionItems, but stores new sessions, and sessions under their earlier names, in the
    form of the earlier version of this package, which still runs in other processes of the site."""

    def name_of_new(self, session_key):
        return earlier_name(session_key, self._prefix) or digest_name(session_key)

    def add(self, session_key, value, age_s):
        earlier = earlier_name(session_key, self._prefix)
        if earlier is None:
            return super().add(session_key, value, age_s)
        return bool(self._ask(self._client.add, earlier, unpack(value), age_s))

    def save(self, session_key, value, age_s, found):
        earlier = earlier_name(session_key, self._prefix)
        if age_s > 0 and (found is None or found.is_earlier):
            if self._replace(earlier, unpack(value), age_s, found and found.number):
                return True
            found = None  # another process has moved the session, unless it was deleted
        return super().save(session_key, value, age_s, found)
