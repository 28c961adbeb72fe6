"""The names of a session in the pool, which replace the session key.

The session key is in the visitor's cookie. Anyone who reads it from a stolen disk, a backup, a log
or the pool itself could log in as the visitor. So the pool contains only a digest of the session
key, from which the cookie cannot be found. A session key has 165 random bits, so the digest needs no
salt.

Versions of this package before 0.2 had "1" and the session key as the name. While
settings.SESSION_CACHE_KEY_FALLBACK is not False, such sessions are found too.
"""

import base64
import hashlib

from stayd.client import extension

DIGEST_BYTES = 18
NAME_LENGTH = 24
EARLIER_PREFIX = "1"


def _digest_name(session_key):
    """The name of a session: 24 letters, digits, - and _. Any text has one."""
    digest = hashlib.sha256(session_key.encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:DIGEST_BYTES]).decode()


digest_name = _digest_name if extension is None else extension.session_name


def earlier_name(session_key, prefix=EARLIER_PREFIX):
    """The name in earlier versions; None if that is as long as a digest. Otherwise an attacker who has
    read, in the pool, the digest of another session that begins with the prefix could send the rest of
    the digest as a cookie, and would get that session."""
    name = prefix + session_key
    return None if len(name) == NAME_LENGTH else name
