"""The async methods of both back ends: they wait for a pool in a thread, never in the event loop.

A read from the daemon's shared memory needs no thread, and the back ends try that first. This module
runs all other calls.

Django's own async methods run each call in one thread that all sync code of a request shares, one after
the other, and build incr, get_many and similar methods from several calls. The calls of this package do
not need that thread: they use no database connection, and any thread may use a client. So they run in
threads of this package, in parallel, each as one call. They do not use the event loop's own thread pool:
if the daemon hangs, calls would occupy all of its threads, and delay everything else in the site that
needs them, such as the look-up of host names.
"""

import asyncio
import concurrent.futures
import contextvars
import functools
import os

THREADS = 32
"""The largest number of threads; each is started when it is first needed. Further calls wait for a free
thread."""


_pools: dict[int, concurrent.futures.ThreadPoolExecutor] = {}
"""For each process id, because a fork does not copy the threads of a pool."""


def _pool_here():
    pid = os.getpid()
    pool = _pools.get(pid)
    if pool is None:
        new = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="stayd")
        pool = _pools.setdefault(pid, new)
    return pool


async def in_thread(function, *arguments, **keywords):
    """Runs the function in a thread with a copy of this context, and returns its result."""
    call = functools.partial(contextvars.copy_context().run, function, *arguments, **keywords)
    return await asyncio.get_running_loop().run_in_executor(_pool_here(), call)


def async_form(name):
    """An async method that runs the sync method of this name in a thread."""

    async def method(self, *arguments, **keywords):
        return await in_thread(getattr(self, name), *arguments, **keywords)

    method.__name__ = f"a{name}"
    method.__doc__ = f"Like `{name}`, in a thread."
    return method


def with_async_forms(*names):
    """Gives a class an async form of each of these methods, with an "a" before the name."""

    def decorate(cls):
        for name in names:
            form = async_form(name)
            form.__qualname__ = f"{cls.__qualname__}.{form.__name__}"
            setattr(cls, form.__name__, form)
        return cls

    return decorate
