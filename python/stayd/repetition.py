"""Which requests are sent a second time when their connection breaks.

Between the first time and the second, another client may have written. A `set` that was carried out
and is sent again then overwrites what is newer, or brings back what was deleted; a `delete` or a
`flush` removes what came since; a `touch`, even to the same date, gives an item that came since an
end that nobody meant for it. So a request goes again only if it surely was not carried out, or if
it only reads. What else breaks is an error (stayd.OutcomeUnknown), and who sent it decides.
"""

import enum

TRIES = 3
"""Of one request, at most. A connection can break twice in one restart of a daemon: the old one,
and one that the daemon took just before it closed its listener. More would feed a daemon that a
request crashes."""


class Kind(enum.Enum):
    """What a request may do when it is carried out a second time."""

    HARMLESS = enum.auto()
    """Nothing: it only reads."""

    ONCE = enum.auto()
    """Harm: it changes something. It is one command, which counts once its last byte has
    arrived."""

    BATCH = enum.auto()
    """Harm, and it is several commands: of a part that was sent, some may have been carried out."""


HARMLESS, ONCE, BATCH = Kind.HARMLESS, Kind.ONCE, Kind.BATCH
# a look-up in an Enum costs as much as three in a module


class Sent(enum.Enum):
    """How much of a request had been sent when its connection broke. (Where no connection came
    about, nothing was: any request may be tried again.)"""

    NOT_ALL = enum.auto()
    """The end is missing, or was surely never read."""
    ALL = enum.auto()
    """It may have been read to its end, and carried out."""


def may_repeat(kind, sent):
    """True if a request whose connection broke then may be sent again."""
    return kind is HARMLESS or (kind is ONCE and sent is Sent.NOT_ALL)
