"""Which async methods wait in a thread, and which need no thread. These methods are the package's own, so
they exist with every Django."""

import asyncio
import os
import signal
import threading

import pytest
from django.core.cache import caches
from stayd import client
from stayd.django import threads
from stayd.django.session_backend import SessionStore

needs_mapping = pytest.mark.skipif(
    client.extension is None, reason=f"stayd._client: {client.WITHOUT_EXTENSION}"
)
ABSENT = "a" * 32


@pytest.fixture
def no_threads(monkeypatch):
    """Makes each start of a thread an error, and each use of a thread of the pool."""

    def refuse(*_, **__):
        raise AssertionError("a thread was needed")

    def begin():
        monkeypatch.setattr(threading.Thread, "start", refuse)
        monkeypatch.setattr(threads, "_pool_here", refuse)

    return begin


@needs_mapping
def test_a_read_of_shared_memory_needs_no_thread(saved, no_threads):
    cache = caches["default"]
    cache.set_many({"a": 1, "b": {"c": [2]}})
    assert cache.get("a") == 1 and SessionStore(saved.session_key).load()  # both are mapped now

    async def read():
        session = SessionStore(saved.session_key)
        assert await session.aload() == {"user": "anna"}
        assert session.session_key == saved.session_key
        assert await session.aexists(saved.session_key)
        assert await cache.aget("a") == 1
        assert await cache.ahas_key("b")
        assert await cache.aget_many(["a", "b"]) == {"a": 1, "b": {"c": [2]}}
        for absent in (session.aexists(ABSENT), cache.aget("absent"), cache.aget_many(["a", "absent"])):
            with pytest.raises(AssertionError, match="a thread was needed"):
                await absent

    no_threads()
    asyncio.run(read())


def test_what_shared_memory_does_not_tell_is_asked_for(saved):
    cache = caches["default"]
    cache.set("a", 1)

    async def ask():
        assert not await SessionStore().aexists(ABSENT)
        assert not await SessionStore().aexists("")
        assert await SessionStore(ABSENT).aload() == {}
        assert await SessionStore().aload() == {}
        assert await cache.aget("absent", "default") == "default"
        assert not await cache.ahas_key("absent")
        assert await cache.aget_many(["absent", "a"]) == {"a": 1}

    asyncio.run(ask())


def test_a_value_that_cannot_be_read_is_missing_in_async_code_too(daemon):
    cache = caches["default"]
    cache.set("k", 1)
    wire_key = cache._key("k", None)
    daemon.connect("cache").ask(
        b"set %b 65 0 7\r\nno pick\r\n" % wire_key.encode(), b"STORED\r\n"
    )
    assert asyncio.run(cache.aget("k", "default")) == cache.get("k", "default") == "default"


def test_a_daemon_that_hangs_holds_up_neither_the_loop_nor_its_threads(own_daemon):
    session = SessionStore()
    session["user"] = "anna"
    session.save()
    session["visits"] = 1

    async def use():
        hung = [asyncio.create_task(SessionStore(ABSENT).aload()) for _ in range(threads.THREADS)]
        hung.append(asyncio.create_task(session.asave()))
        for _ in range(100):
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, lambda: "done") == "done"
        assert not any(task.done() for task in hung)
        os.kill(own_daemon.pid, signal.SIGCONT)
        return await asyncio.gather(*hung)

    os.kill(own_daemon.pid, signal.SIGSTOP)
    try:
        asyncio.run(use())
    finally:
        os.kill(own_daemon.pid, signal.SIGCONT)
    assert SessionStore(session.session_key)["visits"] == 1


def test_a_child_of_a_fork_has_threads_of_its_own(saved):
    """If the child used the parent's threads, its first call would wait for ever: they do not exist
    there."""

    def load():
        return asyncio.run(SessionStore(ABSENT).aload()) == {}

    assert load()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os._exit(0 if load() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
