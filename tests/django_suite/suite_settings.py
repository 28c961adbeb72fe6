"""Settings for Django's own runner: its usual test_sqlite, and the back ends of this package."""

import os

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "other": {"ENGINE": "django.db.backends.sqlite3"},
}
SECRET_KEY = "only for tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
SESSION_ENGINE = "stayd.django.session_backend"
SESSION_CACHE = os.environ["STAYD_SESSIONS"]
CACHES = {
    "default": {
        "BACKEND": "stayd.django.cache.StaydCache", "LOCATION": os.environ["STAYD_CACHE"],
    },
}
