"""System checks: what is wrong with the settings, and with the pool behind them.

`manage.py check`, and every start, check the settings only, because a start must not depend on the
daemon. `manage.py check --deploy` also asks the daemon. With `--tag stayd`, only these checks run.

    stayd.E001  SESSION_CACHE is not set
    stayd.E002  SESSION_CACHE is not the address of a pool (unknown scheme, no port, ...)
    stayd.E003  sessions and cache are on one pool: clearing the cache logs everybody out
    stayd.E004  SESSION_SERIALIZER uses pickle
    stayd.E005  no zstd is installed, and SESSION_CACHE_COMPRESS is not False
    stayd.E006  UserSessionsMiddleware is not before SessionMiddleware
    stayd.E007  UserSessionsMiddleware with SESSION_CACHE_KEY_FALLBACK = "keep"
    stayd.E008  UserSessionsMiddleware with SESSION_CACHE_MIGRATE_FROM
    stayd.E009  SESSION_CACHE_MIGRATE_FROM names no back end
    stayd.W001  (--deploy) the sessions pool cannot be reached, or is no memcached
    stayd.W002  (--deploy) the sessions pool evicts: when it is full, it logs people out
    stayd.W003  (--deploy) the sessions pool does not persist: a restart logs everybody out
    stayd.W004  (--deploy) SESSION_CACHE says cluster=yes, and a host's pool is not clustered

Django registers them with "stayd.django" in INSTALLED_APPS. They are also registered if the session
engine or the cache back end is imported before the checks run. With the errors E001, E002, E004 and
E005, importing the session engine fails.
"""

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from stayd import packing
from stayd.address import parse_location, split_location
from stayd.client import Client
from stayd.django import session_cache
from stayd.django.session_serializer import require_safe
from stayd.errors import Error, InvalidURL

TAG = "stayd"
ENGINE = "stayd.django.session_backend"

USER_SESSIONS = "stayd.django.middleware.UserSessionsMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"

CONNECT_TIMEOUT_S = 1.0
TIMEOUT_S = 2.0


def _concerns_sessions():
    """True if the site keeps sessions in stayd: SESSION_ENGINE is the engine of this package, or the site
    has SESSION_CACHE, which only this package's engines, and engines that are derived from them, read."""
    return settings.SESSION_ENGINE == ENGINE or hasattr(settings, "SESSION_CACHE")


@checks.register(TAG)
def check_settings(app_configs, **kwargs):
    """E001 to E009, from the settings alone."""
    if not _concerns_sessions():
        return []
    return [
        *_address_errors(), *_shared_pool_errors(), *_serializer_errors(), *_packing_errors(),
        *_user_sessions_errors(), *_migration_errors(),
    ]


@checks.register(TAG, deploy=True)
def check_sessions_pool(app_configs, **kwargs):
    """W001 to W004, and E003 for two listeners of one pool. Asks the daemon, and with a clustered pool
    those of all hosts."""
    if not _concerns_sessions() or _address_errors():
        return []
    found = []
    for host in session_cache.address(settings.SESSION_CACHE).members:
        found += _host_warnings(host)
    return found


def _host_warnings(address):
    """W001 to W004, and E003, for one host."""
    try:
        general, evicts = _asked(address)
    except Error as error:
        return [
            checks.Warning(
                f"The sessions pool of SESSION_CACHE cannot be asked how it is set up: {error}",
                hint="While it is out of reach, every request that needs its session fails.",
                id="stayd.W001",
            )
        ]
    found = []
    name = general.get("pool")
    pool = f"The pool {name!r}" if name else "The memcached"
    pool += f" at {address.url}, which keeps the sessions,"
    if evicts is not False:
        does = "evicts" if evicts else "does not say whether it evicts"
        found.append(
            checks.Warning(
                f"{pool} {does}: when its memory is full, people who are logged in are logged out.",
                hint="Give stayd a pool with `evict = no` (its built-in one is on port 11200).",
                id="stayd.W002",
            )
        )
    if general.get("persist") != "yes":
        found.append(
            checks.Warning(
                f"{pool} does not persist: a restart of its daemon logs everybody out.",
                hint="Give stayd a pool with `persist = yes` (its built-in one is on port 11200).",
                id="stayd.W003",
            )
        )
    if address.cluster and "cluster_partitions" not in general:
        found.append(
            checks.Warning(
                f"{pool} is not clustered, but SESSION_CACHE says cluster=yes: while another host "
                f"serves, people who are logged in are logged out.",
                hint="Set `cluster` of that pool (docs/scaling.md), or name one host only.",
                id="stayd.W004",
            )
        )
    return found + _same_pool_errors(address, general)


def require_valid_session_settings():
    """Raises ImproperlyConfigured if the sessions cannot work: E001, E002, E004, E005.

    Called when the engine is imported, so that a site without the system checks does not start
    either.
    """
    session_cache.address(getattr(settings, "SESSION_CACHE", None))
    require_safe(import_string(settings.SESSION_SERIALIZER))
    _require_zstd()


def _require_zstd():
    """Raises ImproperlyConfigured if sessions should be packed and zstd is missing. A process that
    stored sessions unpacked would work only until it read a session that another process had
    packed."""
    if getattr(settings, "SESSION_CACHE_COMPRESS", True) and not packing.can_pack:
        raise ImproperlyConfigured(
            f"Sessions are stored packed with zstd, which is not installed. {packing.REMEDY} Or set "
            f"SESSION_CACHE_COMPRESS = False in all processes of the site: then they are stored as "
            f"they are."
        )


def _packing_errors():
    try:
        _require_zstd()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="stayd.E005")]
    return []


def _user_sessions_errors():
    """E006 to E008."""
    names = list(settings.MIDDLEWARE)
    if USER_SESSIONS not in names:
        return []
    errors = []
    if SESSIONS not in names[names.index(USER_SESSIONS) :]:
        errors.append(
            checks.Error(
                f"MIDDLEWARE has {USER_SESSIONS}, but not before {SESSIONS}: it would look for a "
                f"new session before that is saved.",
                id="stayd.E006",
            )
        )
    if getattr(settings, "SESSION_CACHE_KEY_FALLBACK", True) == "keep":
        errors.append(
            checks.Error(
                f'SESSION_CACHE_KEY_FALLBACK is "keep", but {USER_SESSIONS} lists digests: it would '
                f"find no session.",
                hint="Remove one of them. Sessions of version 0.1 can be listed when all processes "
                     "store digests.",
                id="stayd.E007",
            )
        )
    if getattr(settings, "SESSION_CACHE_MIGRATE_FROM", None):
        errors.append(
            checks.Error(
                f"SESSION_CACHE_MIGRATE_FROM is set, but {USER_SESSIONS} ends sessions in stayd only: "
                f"they would be copied again from the other back end.",
                hint="Add the middleware when all sessions have moved and the setting is gone.",
                id="stayd.E008",
            )
        )
    return errors


def _migration_errors():
    name = getattr(settings, "SESSION_CACHE_MIGRATE_FROM", None)
    if not name:
        return []
    from stayd.django.session_sources import named

    try:
        named(name)
    except ImproperlyConfigured as error:
        return [checks.Error(f"SESSION_CACHE_MIGRATE_FROM: {error}", id="stayd.E009")]
    return []


def _address_errors():
    url = getattr(settings, "SESSION_CACHE", None)
    try:
        session_cache.address(url)
    except ImproperlyConfigured as error:
        number = "stayd.E001" if url is None or url == "" else "stayd.E002"
        return [checks.Error(str(error), id=number)]
    return []


def _serializer_errors():
    try:
        require_safe(import_string(settings.SESSION_SERIALIZER))
    except (ImproperlyConfigured, ImportError) as error:
        return [checks.Error(str(error), id="stayd.E004")]
    return []


def _cache_addresses():
    """(alias, Address) for each server in CACHES. A LOCATION that is not an address belongs to
    another kind of back end (a folder, a table) or is reported by StaydCache itself."""
    for alias, cache in settings.CACHES.items():
        for part in split_location(cache.get("LOCATION")):
            try:
                members = parse_location(part).members
            except InvalidURL:
                continue
            for member in members:
                yield alias, member


def _shared_pool_error(alias, address):
    return checks.Error(
        f"SESSION_CACHE and CACHES[{alias!r}] are one pool ({address.url}): clearing that cache "
        f"logs everybody out.",
        hint="Give each a pool of its own; stayd's built-in ones are on ports 11200 and 11211.",
        id="stayd.E003",
    )


def _shared_pool_errors():
    try:
        sessions = session_cache.address(getattr(settings, "SESSION_CACHE", None))
    except ImproperlyConfigured:
        return []
    places = {member.place for member in sessions.members}
    return [
        _shared_pool_error(alias, address)
        for alias, address in _cache_addresses()
        if address.place in places
    ]


def _same_pool_errors(here, sessions):
    """E003 for two listeners of one pool, which only the daemon can tell. Checks only addresses on
    this machine, because daemons in two containers may have the same process id and the same pool
    name."""
    errors = []
    for alias, address in _cache_addresses():
        if address.place == here.place or not (address.is_local and here.is_local):
            continue
        try:
            with _impatient(address) as client:
                general = client.stats()
        except Error:
            continue
        if "pool" in general and all(general[n] == sessions.get(n) for n in ("pid", "pool")):
            errors.append(_shared_pool_error(alias, address))
    return errors


def _asked(address):
    """(general statistics, whether the pool evicts: None if the server does not report it)."""
    with _impatient(address) as client:
        general = client.stats()
        evict = general.get("evict")
        if evict is None:
            evict = client.stats("settings").get("evictions")
    return general, {"yes": True, "on": True, "no": False, "off": False}.get(evict)


def _impatient(address):
    return Client(
        address, connect_timeout_s=CONNECT_TIMEOUT_S, timeout_s=TIMEOUT_S, restart_wait_s=0
    )
