"""The async methods that Django's sessions have from 5.1 on."""

import asyncio
import contextlib
import socket
import threading

import pytest
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.test.utils import override_settings
from stayd.django.session_backend import SessionStore, SessionsUnreachable

pytestmark = pytest.mark.skipif(
    not hasattr(SessionBase, "aload"), reason="sessions have async methods from Django 5.1 on"
)


def test_every_async_method_of_the_sessions_works(daemon):
    async def use():
        session = SessionStore()
        assert await session.aget("a") is None
        await session.aset("a", 1)
        await session.aupdate({"b": 2})
        assert await session.asetdefault("c", 3) == 3
        assert await session.apop("c") == 3
        assert await session.ahas_key("a")
        assert sorted(await session.akeys()) == ["a", "b"]
        assert sorted(await session.avalues()) == [1, 2]
        assert sorted(await session.aitems()) == [("a", 1), ("b", 2)]
        await session.asave()
        key = session.session_key
        assert await session.aexists(key)
        again = SessionStore(key)
        assert await again.aload() == {"a": 1, "b": 2}
        assert await again.aget("a") == 1
        await again.acycle_key()
        assert again.session_key != key
        assert not await session.aexists(key)
        assert await SessionStore(again.session_key).aget("b") == 2
        await again.aset_expiry(100)
        assert await again.aget_expiry_age() == 100
        assert not await again.aget_expire_at_browser_close()
        await again.aset_test_cookie()
        assert await again.atest_cookie_worked()
        await again.adelete_test_cookie()
        key = again.session_key
        await again.aflush()
        assert again.session_key is None
        assert not await session.aexists(key)
        await session.acreate()
        assert await session.aexists(session.session_key)
        await session.adelete()
        assert not await session.aexists(session.session_key)
        await SessionStore.aclear_expired()

    asyncio.run(use())


def test_async_saves_fail_as_the_others_do(daemon):
    async def use():
        session = SessionStore()
        await session.aset("a", 1)
        await session.asave()
        with pytest.raises(CreateError):
            await SessionStore(session.session_key).asave(must_create=True)
        other = SessionStore(session.session_key)
        await other.aset("b", 2)
        await session.adelete()
        with pytest.raises(UpdateError):
            await other.asave()

    asyncio.run(use())


def test_an_outage_is_an_error_in_async_code_too(own_daemon):
    async def use():
        session = SessionStore()
        await session.acreate()
        own_daemon.kill9()
        with pytest.raises(SessionsUnreachable):
            await SessionStore(session.session_key).aget("a")

    asyncio.run(use())


@contextlib.contextmanager
def patient_server(release, together):
    """A server that answers `together` requests at a time, once `release` (an Event) is set."""
    barrier = threading.Barrier(together)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection:
            while connection.recv(65536):
                barrier.wait(20)
                release.wait(20)
                connection.sendall(b"END\r\n")

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"memcached://127.0.0.1:{listener.getsockname()[1]}/?timeout=20"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_loads_run_side_by_side_and_the_loop_goes_on():
    """If the loads ran in the event loop, none would end, because the loop releases the server. If
    they ran one after the other, none would end, because the server waits for both."""
    release = threading.Event()

    async def use():
        loads = [asyncio.create_task(SessionStore("k" * 32).aload()) for _ in range(2)]
        await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(*loads)

    with patient_server(release, together=2) as url:
        with override_settings(SESSION_CACHE=url, SESSION_CACHE_KEY_FALLBACK=False):
            assert asyncio.run(asyncio.wait_for(use(), 30)) == [{}, {}]


def test_the_async_cache_key_is_that_of_the_pool(daemon):
    session = SessionStore("k" * 32)
    assert asyncio.run(session.acache_key()) == session.cache_key
