"""Client for stayd, the daemon that keeps a web site's users logged in, and its Django back ends.

`Client(url)` speaks to one pool of the daemon. The Django parts are in `stayd.django` and are not
imported from here, so that the client works where no Django is installed.
"""

from stayd.client import Client
from stayd.errors import (
    ConnectionError,
    Error,
    InvalidKey,
    InvalidURL,
    LoginRefused,
    OutcomeUnknown,
    OutOfMemory,
    RequestRefused,
    ServerError,
    UnreadableValue,
    ValueTooLarge,
)

__version__ = "0.2.0"

__all__ = [
    "Client",
    "ConnectionError",
    "Error",
    "InvalidKey",
    "InvalidURL",
    "LoginRefused",
    "OutcomeUnknown",
    "OutOfMemory",
    "RequestRefused",
    "ServerError",
    "UnreadableValue",
    "ValueTooLarge",
]
