"""Sessions as items of the pool: their names there, and what a broken request means.

Neither class stores anything about a session, so one object serves a whole process. They raise
SessionsUnreachable, SessionOutcomeUnknown and SessionsPoolFull, and the other errors of Client.
"""

import collections

from stayd.django.session_names import EARLIER_PREFIX, digest_name, earlier_name
from stayd.errors import ConnectionError, InvalidKey, OutcomeUnknown, OutOfMemory
from stayd.packing import RESERVED, unpack
from stayd.repetition import TRIES

RESERVATION = bytes([RESERVED])
RESERVATION_S = 60
MOVE_TRIES = 20
"""Each that fails means that another request got further."""


class SessionsUnreachable(ConnectionError):
    """The daemon that keeps the sessions cannot be reached: who is logged in is not known now."""


class SessionOutcomeUnknown(SessionsUnreachable, OutcomeUnknown):
    """The connection broke while this session was being changed, and it cannot be found out
    whether the change was made."""


class SessionsPoolFull(OutOfMemory):
    """The sessions pool has no room for a new session. Existing sessions are not affected."""


Found = collections.namedtuple("Found", "value number is_earlier")
"""A stored session: its value, the CAS number of this version, and whether it was found under its
earlier name."""


class SessionItems:
    """Sessions under their digests."""

    def __init__(self, client):
        self._client = client

    def name_of_new(self, session_key):
        """The name under which a session would be stored that there is not yet."""
        return digest_name(session_key)

    def find(self, session_key):
        """The Found of this session, None if there is none."""
        value, number = self._gets(digest_name(session_key))
        return None if value is None else Found(value, number, False)

    def add(self, session_key, value, age_s):
        """Stores a session under a random key: False if this is taken."""
        return bool(self._ask(self._client.add, digest_name(session_key), value, age_s))

    add_under_any_key = add
    """Under a key that may have been used before."""

    def save(self, session_key, value, age_s, found):
        """Stores the next version: False if the session has ended. `found`: the Found of the
        version that was loaded, or None."""
        return self._replace(digest_name(session_key), value, age_s, found and found.number)

    def delete(self, session_key):
        """Removes the session. Sent again when the connection breaks: no session has the key of one
        that ended."""
        self._ask_again(self._client.delete, digest_name(session_key))

    def _gets(self, name):
        """(value, number); (None, None) for a reservation and where no such name can be."""
        value, number = self._ask(self._client.gets, name) or (None, None)
        return (None, None) if value == RESERVATION else (value, number)

    def _replace(self, name, value, age_s, number):
        """Stores over what lies under the name: False if nothing does. `number`: see _save_again."""
        try:
            return bool(self._ask(self._client.replace, name, value, age_s))
        except SessionOutcomeUnknown as error:
            return self._save_again(name, value, age_s, number, error)

    def _save_again(self, name, value, age_s, number, error):
        """After a save without an answer: True if the session is saved now, False if it is gone.

        `number` is that of the version that was loaded. While the pool has this one, nothing was
        written since, by this save or another, so storing over it on that condition is safe however
        often it is sent. `error` is raised if another version is there that is not this save's.
        """
        if number and number != b"0":  # 0: a memcached with -C, which keeps no numbers
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
        """As `_ask`, for what does a session no harm when it is done twice: up to TRIES times, but
        once after a request that timed out (`timed_out`: one before this has)."""
        tries = 0
        while True:
            try:
                return self._ask(request, name, *arguments)
            except SessionOutcomeUnknown as error:
                tries += 1
                if tries == TRIES or timed_out:
                    raise
                timed_out = error.timed_out

    def _ask(self, request, name, *arguments):
        """What the Client's method returns for this name; None if there is no such name, or if none
        can be (the session key is the cookie's text, which may be anything)."""
        if name is None:
            return None
        try:
            return request(name, *arguments)
        except InvalidKey:
            return None
        except OutcomeUnknown as error:
            unknown = SessionOutcomeUnknown(str(error))
            unknown.timed_out = error.timed_out
            raise unknown from error
        except ConnectionError as error:
            raise SessionsUnreachable(str(error)) from error
        except OutOfMemory as error:
            raise SessionsPoolFull(str(error)) from error


class MovingSessionItems(SessionItems):
    """Sessions under their digests, and under the names of earlier versions until they are saved.

    The pool changes one item in a step, and a session that moves is two: between a look at the one
    and a write to the other the session may end. What holds nevertheless: once `delete` has
    returned, no request that is under way brings the session back, however slow it is, and wherever
    its process dies. This is how:

    - `delete` removes the earlier name first, then the digest.
    - A move adds a reservation (one byte) under the digest and notes its number; then sees that the
      earlier name is there yet; then stores the session over the reservation on the condition that
      it has that number still (`cas`); then removes the earlier name. A deletion that was over
      before the reservation was noted had removed the earlier name before the move looked for it. A
      later one removes the reservation, or what came of it; no later item has the same number.
    - What lies under a digest is saved by `cas` too. `replace` could not tell a session from the
      reservation of a slow move that began before the session had ended.
    - A reservation counts as nothing there: a process that dies on the way loses nothing, and the
      next one takes its reservation over.
    - Who finds neither name looks for the digest again: the session may have moved in between.
    - The look at the earlier name gives it the end that the session gets (`touch`), so that if the
      process dies right before the removal, what it left does not outlive the session.
    """

    def __init__(self, client, prefix=EARLIER_PREFIX):
        super().__init__(client)
        self._prefix = prefix

    def find(self, session_key):
        found = super().find(session_key)
        if found is None:
            value, number = self._gets(earlier_name(session_key, self._prefix))
            if value is not None:
                return Found(value, number, True)
            found = super().find(session_key)
        return found

    def add_under_any_key(self, session_key, value, age_s):
        """As the other's."""
        return self.find(session_key) is None and self.add(session_key, value, age_s)

    def save(self, session_key, value, age_s, found):
        name, earlier = digest_name(session_key), earlier_name(session_key, self._prefix)
        if age_s <= 0:
            return self._delete(name, earlier)
        if found is None or not found.is_earlier:
            if self._overwrite(name, value, age_s, found and found.number):
                return True
            if self._gets(earlier) == (None, None):
                # Gone, or moved right now. No reservation for a session that has no earlier name.
                return self._overwrite(name, value, age_s, None)
        return self._move(name, earlier, value, age_s)

    def delete(self, session_key):
        self._delete(digest_name(session_key), earlier_name(session_key, self._prefix))

    def _delete(self, name, earlier):
        """True if there was one of them."""
        there_was = [self._ask_again(self._client.delete, each) for each in (earlier, name)]
        return any(there_was)

    def _overwrite(self, name, value, age_s, number):
        """Stores over the session under its digest, whatever version that is: False if there is
        none. `number`: of the version that is expected there, or None."""
        for _ in range(MOVE_TRIES):
            if number is None:
                _, number = self._gets(name)
                if number is None:
                    return False
            if self._cas(name, value, age_s, number):
                return True
            number = None
        raise self._too_often()

    def _move(self, name, earlier, value, age_s):
        """Brings the session from its earlier name to its digest: False if it has ended."""
        for _ in range(MOVE_TRIES):
            try:
                self._ask_again(self._client.add, name, RESERVATION, RESERVATION_S)
            except SessionsPoolFull:  # which takes new versions of what it holds
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


class KeepingSessionItems(MovingSessionItems):
    """As the above, but new sessions and those under their earlier names are stored in the form of
    the earlier version, which still runs in other processes of the site."""

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
            found = None  # another process has moved it, if it has not ended
        return super().save(session_key, value, age_s, found)
