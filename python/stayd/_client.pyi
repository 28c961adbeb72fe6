"""What python/extension gives to stayd.native_client."""

from typing import Any, Optional

library_version: str

INVALID: int
DISCONNECTED: int
OUTCOME_UNKNOWN: int
BUSY: int
LOGIN_REFUSED: int
REFUSED: int
FULL: int
TOO_LARGE: int
SERVER_ERROR: int
PROTOCOL: int
NO_MEMORY: int
UNSUPPORTED: int

class Transport:
    def __init__(
        self, url: bytes, serde: Any, connect_timeout_ms: int, timeout_ms: int,
        restart_wait_ms: int, idle_timeout_ms: int, max_connections: int, user: Optional[bytes],
        password: Optional[bytes], tls_ca: Optional[str], tls_cert: Optional[str],
        tls_key: Optional[str],
    ) -> None: ...
    def get_session(
        self, packing: Packing, scan: Any, session_key: str
    ) -> Optional[tuple[Any, int]]: ...
    def raw_stats(self, group: Optional[str] = None) -> list[tuple[str, str]]: ...

class Packing:
    def __init__(self, dictionary: Optional[bytes], limit: int, level: int) -> None: ...
    def pack(self, data: bytes) -> bytes: ...
    def unpack(self, packed: bytes) -> bytes: ...

def session_name(session_key: str) -> str: ...
