"""The stores that the demo and `make bench` compare stayd with.

Each function returns (SESSION_ENGINE, SESSION_CACHE_ALIAS, CACHES), with Django's own engines, and
with the back ends of Django and django-redis as their documentation shows them. Addresses come from
the environment as HOST:PORT: SITE_CACHE is the memcached (or Redis) for the cache,
SITE_SESSION_CACHE the one for the sessions.
"""

DJANGO_BACKENDS = "django.core.cache.backends.memcached"


def one_memcached(environ):
    """Cache and sessions share one memcached, as on many small sites."""
    cache = {"BACKEND": f"{DJANGO_BACKENDS}.PyLibMCCache", "LOCATION": environ["SITE_CACHE"]}
    return "django.contrib.sessions.backends.cache", "default", {"default": cache}


def two_memcacheds(environ, client="PyLibMCCache"):
    """Two memcacheds: one for the cache, the other for the sessions only."""
    backend = f"{DJANGO_BACKENDS}.{client}"
    caches = {
        "default": {"BACKEND": backend, "LOCATION": environ["SITE_CACHE"]},
        "sessions": {"BACKEND": backend, "LOCATION": environ["SITE_SESSION_CACHE"]},
    }
    return "django.contrib.sessions.backends.cache", "sessions", caches


def two_memcacheds_pymemcache(environ):
    """The same with pymemcache, which is written in Python, while pylibmc is written in C."""
    return two_memcacheds(environ, client="PyMemcacheCache")


def database(environ):
    """Sessions in the database, Django's default; the cache is in memcached."""
    _, _, caches = one_memcached(environ)
    return "django.contrib.sessions.backends.db", "default", caches


def cached_database(environ):
    """Sessions in the database, and a copy of each in memcached to read from."""
    _, _, caches = two_memcacheds(environ)
    return "django.contrib.sessions.backends.cached_db", "sessions", caches


def redis(environ):
    """Two databases of one Redis, through django-redis."""
    backend = "django_redis.cache.RedisCache"
    caches = {
        "default": {"BACKEND": backend, "LOCATION": f"redis://{environ['SITE_CACHE']}/0"},
        "sessions": {"BACKEND": backend, "LOCATION": f"redis://{environ['SITE_SESSION_CACHE']}/1"},
    }
    return "django.contrib.sessions.backends.cache", "sessions", caches


OTHER_STORES = {
    "one_memcached": one_memcached,
    "two_memcacheds": two_memcacheds,
    "two_memcacheds_pymemcache": two_memcacheds_pymemcache,
    "database": database,
    "cached_database": cached_database,
    "redis": redis,
}
