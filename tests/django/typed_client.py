"""Every method of stayd.Client, with the types that its callers see. mypy reads this file (mypy.ini);
nothing runs it.

mypy fails here if a method has no types, or if a result has another type.
"""

from typing import Any, Optional, Union

from stayd import Client, Error


def use(client: Client) -> None:
    with client as same:
        value: Any = same.get("key", default=None)
        _, number = same.gets(b"key")
        by_text: dict[str, Any] = same.get_many(["one", "two"])
        by_bytes: dict[bytes, Any] = same.get_many([b"one"])
        same.set("key", value, ttl_s=1.5)
        refused: list[str] = same.set_many(by_text, ttl_s=60)
        stored: bool = same.add("key", b"value") or same.replace("key", b"value")
        changed: Optional[bool] = same.cas("key", b"value", number or 1)
        there: bool = same.touch("key") or same.delete("key")
        same.delete_many(by_bytes)
        count: Optional[int] = same.incr("key", delta=-1)
        same.flush()
        stats: dict[str, Union[str, int]] = same.stats("items")
        version: str = same.version()
        print(refused, stored, changed, there, count, stats, version)


def make() -> Client:
    try:
        return Client("unix:///run/stayd/cache.sock", timeout_s=1, max_connections=8, username="u",
                      password="p")
    except Error as error:
        raise SystemExit(str(error)) from error
