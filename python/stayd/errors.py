"""What can go wrong between a site and stayd. Every message names the pool's URL and a remedy.

None of these is a KeyError: Django's `auth.get_user` takes a KeyError from the session for "nobody
is logged in", and an outage must not log anybody out.
"""

import builtins


class Error(Exception):
    """The root of all that this package raises on its own."""


class InvalidURL(Error, ValueError):
    """The text is no address of a pool."""


class InvalidKey(Error, ValueError):
    """The key is not 1 to 250 bytes without spaces and control characters."""


class ConnectionError(Error, builtins.ConnectionError):
    """The daemon cannot be reached, does not answer in time, or hung up before it answered.

    It is a builtins.ConnectionError (and so an OSError) too, so that code written for another
    memcached client, which lets the socket's own error through, still catches it.
    """


class OutcomeUnknown(ConnectionError):
    """A request that changes something was sent and not answered: it may have been carried out, and
    was not sent again (stayd.repetition says why)."""

    timed_out = False
    """True if no answer came in time, False if the connection ended: whether to ask again at once
    costs another wait."""


class RequestRefused(Error):
    """The daemon calls the request itself wrong, or its answer is not one of this protocol."""


class LoginRefused(RequestRefused):
    """The pool asks for a user and a password, and those that were given are not right."""


class ServerError(Error):
    """The daemon understood the request and could not carry it out."""


class OutOfMemory(ServerError):
    """The pool is full, and its policy is to refuse new items rather than to drop live ones."""


class ValueTooLarge(ServerError):
    """The value is larger than the pool's item_max."""


class UnreadableValue(Error):
    """A stored value is whole, and this installation cannot read it: a later version of the package
    packed it, or zstd did, which is not installed here."""
