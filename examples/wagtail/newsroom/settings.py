"""Settings of the newsroom: those of any Wagtail site, and the block with the heading "stayd".

The environment variable SITE_FOLDER names the folder for all data of the site.
"""

import os
from pathlib import Path

TREE_DIR = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("SITE_FOLDER", TREE_DIR / "build" / "wagtail"))

# ---- stayd ---------------------------------------------------------------------------------------
# These two lines move the sessions to stayd's sessions pool:

SESSION_ENGINE = "stayd.django.session_backend"
SESSION_CACHE = f"unix://{FOLDER}/run/sessions.sock"

# The cache goes to stayd's cache pool:

CACHES = {
    "default": {
        "BACKEND": "stayd.django.cache.StaydCache",
        "LOCATION": f"unix://{FOLDER}/run/cache.sock",
    },
}
# --------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "newsroom",
    "stayd.django",  # checks of the settings above, and "Sessions of users" in Django's admin
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "django_filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "stayd.django.middleware.UserSessionsMiddleware",  # lists the sessions of each user
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "wagtail.contrib.redirects.middleware.RedirectMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "OPTIONS": {"timeout": 60},  # seconds that a request waits while another request writes
        "NAME": FOLDER / "site.sqlite3",
    },
}

ROOT_URLCONF = "newsroom.urls"
WSGI_APPLICATION = "newsroom.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "wagtailadmin_login"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
MEDIA_URL = "/media/"
MEDIA_ROOT = FOLDER / "media"
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
SECRET_KEY = (FOLDER / "secret_key").read_text()

WAGTAIL_SITE_NAME = "Newsroom"
WAGTAILADMIN_BASE_URL = "http://localhost"
WAGTAIL_AUTOSAVE_INTERVAL = 0  # drafts are saved only when the author saves them

# Nothing is fetched from other machines.
WAGTAIL_ENABLE_UPDATE_CHECK = False
WAGTAIL_ENABLE_WHATS_NEW_BANNER = False
WAGTAIL_GRAVATAR_PROVIDER_URL = None
