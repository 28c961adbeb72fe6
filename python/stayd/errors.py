"""The exceptions of this package. Every message names the pool's URL and a remedy.

None of these is a KeyError: Django's `auth.get_user` treats a KeyError from the session as "nobody
is logged in", and an outage must not log anybody out.
"""

import builtins


class Error(Exception):
    """The base class of this package's exceptions."""


class InvalidURL(Error, ValueError):
    """The text is not an address of a pool."""


class InvalidKey(Error, ValueError):
    """The key is not 1 to 250 bytes without spaces and control characters."""


class ConnectionError(Error, builtins.ConnectionError):
    """The daemon cannot be reached, does not answer in time, or closed the connection before it
    answered.

    Also a builtins.ConnectionError (and so an OSError), so that it is also caught by code that was
    written for a client that raises the socket's own errors.
    """


class OutcomeUnknown(ConnectionError):
    """A request that changes something was sent and not answered: it may have been carried out, and
    was not sent again (stayd.repetition says why)."""

    timed_out = False
    """True if no answer came in time, False if the connection ended. After a timeout, another try
    may wait as long again."""


class RequestRefused(Error):
    """The daemon reports the request as wrong, or its answer is not one of this protocol."""


class LoginRefused(RequestRefused):
    """The pool requires a user and a password, and those given are wrong."""


class ServerError(Error):
    """The daemon understood the request and could not carry it out."""


class OutOfMemory(ServerError):
    """The pool is full, and its policy is to refuse new items instead of evicting live ones."""


class ValueTooLarge(ServerError):
    """The value is larger than the pool's item_max."""


class UnreadableValue(Error):
    """A stored value is intact, but this installation cannot read it: a later version of this
    package packed it, or reading it needs zstd, which is not installed."""
