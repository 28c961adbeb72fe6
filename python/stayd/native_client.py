"""Client over libstayd (stayd._client). Most of it is in C: python/extension/."""

import logging
from typing import Any

from stayd import _client
from stayd.address import Tls, checked_login
from stayd.client import Client, refuse_key, whole_ms
from stayd.errors import (
    ConnectionError,
    Error,
    InvalidURL,
    LoginRefused,
    OutcomeUnknown,
    OutOfMemory,
    RequestRefused,
    ServerError,
    ValueTooLarge,
)
from stayd.serde import BytesSerde

logger = logging.getLogger("stayd")

_ERRORS = {
    _client.DISCONNECTED: ConnectionError,
    _client.OUTCOME_UNKNOWN: OutcomeUnknown,
    _client.BUSY: ConnectionError,
    _client.LOGIN_REFUSED: LoginRefused,
    _client.REFUSED: RequestRefused,
    _client.FULL: OutOfMemory,
    _client.TOO_LARGE: ValueTooLarge,
    _client.SERVER_ERROR: ServerError,
    _client.PROTOCOL: RequestRefused,
    _client.NO_MEMORY: MemoryError,
    _client.UNSUPPORTED: RequestRefused,
}


class NativeClient(_client.Transport, Client):
    """See stayd.Client."""

    backend = "native"

    def __init__(self, url, *, serde=None, username=None, password=None, **options):
        Client.__init__(self, url, **options)
        address = self.address
        user, secret = address.username, address.password
        if username is not None or password is not None:
            given = checked_login(username, password)
            user, secret = given["username"], given["password"]
        tls = address.tls or Tls()
        if address.tls is not None:
            tls.new_context()  # raises an error that names the bad file
        _client.Transport.__init__(
            self,
            self.url.encode(),
            None if isinstance(serde, BytesSerde) else serde,
            whole_ms(self._connect_timeout_s),
            whole_ms(self._timeout_s),
            whole_ms(self._restart_wait_s) if self._restart_wait_s > 0 else -1,
            whole_ms(self._idle_timeout_s),
            self._max_connections or 0,
            user,
            secret,
            tls.ca,
            tls.cert,
            tls.key,
        )

    def stats(self, *groups):
        """The daemon's statistics as a dict of text to text or int."""
        return {name: _number(value) for name, value in self.raw_stats(" ".join(groups) or None)}

    def _refuse_key(self, key):
        refuse_key(key)

    def _report_unreadable(self, key, error):
        logger.warning("%s: the value under %r cannot be read: %s", self.url, key, error)

    def _raise(self, command, status, message, timed_out):
        """Raises the exception for a request's status. Called by the extension."""
        if status == _client.INVALID:
            raise InvalidURL(message) if command == "open" else Error(message)
        error: Any = _ERRORS.get(status, Error)(message)
        if status == _client.OUTCOME_UNKNOWN:
            error.timed_out = bool(timed_out)
        raise error


def _number(text):
    """A statistic as an int if it is a whole number; else as the text."""
    return int(text) if text.isdecimal() else text
