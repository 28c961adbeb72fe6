"""Settings of the bookshop.

Everything below is what any Django site has, except the block headed "stayd". The demo runs the
same site on other stores as well, to compare them: the environment variable SITE_STORE names one
of those in stores.py. Users are in SQLite whatever the store.
"""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from bookshop import stores

BASE_DIR = Path(__file__).resolve().parents[1]
TREE_DIR = BASE_DIR.parents[1]

# ---- stayd ---------------------------------------------------------------------------------------
# The sessions go to stayd's sessions pool. These two lines are all that a site needs for that:

SESSION_ENGINE = "stayd.django.session_backend"
SESSION_CACHE = os.environ.get("SITE_SESSION_CACHE", "memcached://127.0.0.1:11200/")

# And the cache goes to its cache pool, as it would to a memcached:

CACHES = {
    "default": {
        "BACKEND": "stayd.django.cache.StaydCache",
        "LOCATION": os.environ.get("SITE_CACHE", "memcached://127.0.0.1:11211/"),
    },
}
# --------------------------------------------------------------------------------------------------

STORE = os.environ.get("SITE_STORE", "stayd")
if STORE in stores.OTHER_STORES:
    SESSION_ENGINE, SESSION_CACHE_ALIAS, CACHES = stores.OTHER_STORES[STORE](os.environ)
    del SESSION_CACHE
elif STORE != "stayd":
    known = ", ".join(["stayd", *stores.OTHER_STORES])
    raise ImproperlyConfigured(f"SITE_STORE is {STORE!r}, but the stores of this site are: {known}")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "bookshop",
]
if STORE == "stayd":
    INSTALLED_APPS.append(
        "stayd.django"
    )  # brings checks of the two lines above to `manage.py check`

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "bookshop.views.store_name",
            ],
        },
    },
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "CONN_MAX_AGE": 600,
        "OPTIONS": {"timeout": 60},  # how long a request waits while another one writes
        "NAME": os.environ.get("SITE_DATABASE", TREE_DIR / "build" / "bookshop.sqlite3"),
    },
}

ROOT_URLCONF = "bookshop.urls"
WSGI_APPLICATION = "bookshop.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "account"
LOGOUT_REDIRECT_URL = "shelf"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True

# For a site that only this machine can reach. A real one keeps its key to itself.
SECRET_KEY = os.environ.get("SITE_SECRET_KEY", "this-key-is-for-the-bookshop-on-loopback-only")

# The demo logs hundreds of readers in within seconds, so it hashes their passwords with a thousand
# rounds. Never do that on a real site: without this block Django hashes as it should.
if os.environ.get("SITE_CHEAP_PASSWORDS") == "yes":
    PASSWORD_HASHERS = ["bookshop.hashers.CheapHasher"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["stderr"], "level": "ERROR", "propagate": False}},
}
