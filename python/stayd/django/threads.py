"""The async methods of both back ends: they wait for a pool in a thread, never in the event loop.

Django's own async methods run each call in one thread that all sync code of a request shares, one
after the other, and build incr, get_many and similar methods from several calls. The calls of this
package do not need that thread: they use no database connection, and any thread may use a client.
So they run in the event loop's thread pool, in parallel, each as one call.

A client that answers without a round trip would need no thread; that could be added here.
"""

from asgiref.sync import sync_to_async


async def in_thread(function, *arguments, **keywords):
    """Runs the function in a thread, and returns its result."""
    return await sync_to_async(function, thread_sensitive=False)(*arguments, **keywords)


def async_form(name):
    """An async method that runs the sync method of this name in a thread."""

    async def method(self, *arguments, **keywords):
        return await in_thread(getattr(self, name), *arguments, **keywords)

    method.__name__ = f"a{name}"
    method.__doc__ = f"As `{name}`, in a thread."
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
