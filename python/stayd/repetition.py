"""Which requests are sent a second time when their connection breaks.

Between the two times, another client may have written. If a `set` was carried out and is sent
again, it overwrites a newer value or brings back a deleted one. A `delete` or a `flush` removes newer
items. A `touch`, even to the same date, changes the expiry of a newer item. So a request is sent
again only if it certainly was not carried out, or if it only reads. Every other broken request
raises stayd.OutcomeUnknown, and the caller decides.
"""

import enum
import time

from stayd.errors import OutcomeUnknown

TRIES = 3
"""A request is sent at most this many times. Two connections can break in one restart of a daemon:
the old one, and one that the daemon accepted just before it closed its listener. Further tries
would only repeat a request that crashes the daemon."""

PAUSE_S = 0.02
"""A request that may have been carried out is sent again after this pause, by callers that may do
so. The kernel takes some milliseconds to close the sockets of a killed daemon. Until then it
accepts connections that nobody will answer."""


class Kind(enum.Enum):
    """What a request may do when it is carried out a second time."""

    HARMLESS = enum.auto()
    """No harm, because the request only reads."""

    ONCE = enum.auto()
    """Harm, because the request changes something. It is one command, which is carried out only
    when its last byte has arrived."""

    BATCH = enum.auto()
    """Harm. The request has several commands: if a part was sent, some of them may have been
    carried out."""


HARMLESS, ONCE, BATCH = Kind.HARMLESS, Kind.ONCE, Kind.BATCH
# looking up an Enum member takes three times as long as looking up a module's name


class Sent(enum.Enum):
    """How much of a request had been sent when its connection broke. (If there was no connection,
    nothing was sent, and any request may be tried again.)"""

    NOT_ALL = enum.auto()
    """The end was not sent, or the daemon certainly never read it."""
    ALL = enum.auto()
    """The daemon may have read the whole request and carried it out."""


def may_repeat(kind, sent):
    """True if a request of this kind may be sent again after `sent` of it was sent."""
    return kind is HARMLESS or (kind is ONCE and sent is Sent.NOT_ALL)


def ask_again(request, *arguments):
    """The result of a request that may be carried out twice. It is sent again if the connection breaks,
    up to TRIES times in all, but not after a timeout."""
    for attempt in range(TRIES):
        try:
            return request(*arguments)
        except OutcomeUnknown as error:
            if attempt + 1 == TRIES or error.timed_out:
                raise
            time.sleep(PAUSE_S)
