"""Django's sessions and cache on stayd.

    INSTALLED_APPS  = [..., "stayd.django"]                # the system checks
    SESSION_ENGINE  = "stayd.django.session_backend"
    SESSION_CACHE   = "memcached://127.0.0.1:11200/"       # or unix:///run/stayd/sessions.sock
    CACHES = {
        "default": {
            "BACKEND": "stayd.django.cache.StaydCache",
            "LOCATION": "127.0.0.1:11211",
        }
    }
"""
