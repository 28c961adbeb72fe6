"""Where the async methods of both back ends wait for a pool: never in the event loop.

Django's own async methods run each call in one thread that all sync code of a request shares, one
after the other, and build incr, get_many and the like from several. The calls of this package need
no such thread: they touch no database connection, and clients may be used in any. So they run in
the event loop's pool of threads, side by side, each as one call.

A client that answers without a round trip needs no thread for that: this is the place for it.
"""

from asgiref.sync import sync_to_async


async def in_thread(function, *arguments, **keywords):
    """What the function returns."""
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
