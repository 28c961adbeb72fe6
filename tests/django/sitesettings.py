"""Pieces of settings that several tests need."""

NOWHERE = "memcached://127.0.0.1:9/?restart_wait=0"
"""The discard port: nothing listens there, so a test that has not set its pools fails at once."""


def caches_at(location, **params):
    """CACHES with one StaydCache."""
    backend = "stayd.django.cache.StaydCache"
    return {"default": {"BACKEND": backend, "LOCATION": location, **params}}


TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

WITH_USERS = dict(
    ROOT_URLCONF="accountsite",
    STATIC_URL="/static/",
    LOGIN_URL="/login/",
    MIDDLEWARE=[
        "stayd.django.middleware.UserSessionsMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
)
"""Settings of a site that lists the sessions of its users."""
