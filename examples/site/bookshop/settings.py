"""Settings of the bookshop.

Any Django site has such settings, except the block with the heading "stayd". The demo also runs
this site on other stores, to compare them: the environment variable SITE_STORE names a store of
stores.py. Users are always in SQLite.
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

# The cache goes to stayd's cache pool, as it would go to a memcached:

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
    )  # `manage.py check` checks the two lines above

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
        "OPTIONS": {"timeout": 60},  # how long a request waits while another request writes
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

# These are for a site that only this machine can reach. A real site keeps its key secret.
SECRET_KEY = os.environ.get("SITE_SECRET_KEY", "this-key-is-for-the-bookshop-on-loopback-only")

# The demo logs in hundreds of readers within seconds, so it hashes their passwords with only a
# thousand rounds. Never do that on a real site: without this block, Django hashes passwords safely.
if os.environ.get("SITE_CHEAP_PASSWORDS") == "yes":
    PASSWORD_HASHERS = ["bookshop.hashers.CheapHasher"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["stderr"], "level": "ERROR", "propagate": False}},
}
