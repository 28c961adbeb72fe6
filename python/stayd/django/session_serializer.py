"""Checks the session serializer: JSON or a similar format, never pickle.

A pickle can run code when it is read, so an attacker who can write into the pool could run code in
the web process.
"""

import functools
import pickletools

from django.core.exceptions import ImproperlyConfigured

_PROBE = {"stayd": "probe"}


@functools.cache
def require_safe(serializer_class):
    """Raises ImproperlyConfigured if the serializer's name or output is that of a pickle."""
    classes = getattr(serializer_class, "__mro__", (serializer_class,))
    named_so = any("pickle" in one.__name__.lower() for one in classes)
    if named_so or _is_pickle(serializer_class().dumps(_PROBE)):
        raise ImproperlyConfigured(
            f"SESSION_SERIALIZER is {serializer_class.__module__}.{serializer_class.__name__}, "
            f"which pickles: whoever can write into the sessions pool would run code in this "
            f'process. Use "django.contrib.sessions.serializers.JSONSerializer".'
        )


def _is_pickle(data):
    """True if `data` is one whole pickle. Reads the opcodes and executes none."""
    try:
        for _ in pickletools.genops(data):
            pass
    except Exception:
        return False
    return True


def unserializable(serializer, session_data):
    """The names of those entries of the session that the serializer cannot express."""
    names = []
    for name, value in session_data.items():
        try:
            serializer.dumps({name: value})
        except (TypeError, ValueError, OverflowError, RecursionError):
            names.append(name)
    return names
