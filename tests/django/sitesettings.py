"""Pieces of settings that several tests need."""

NOWHERE = "memcached://127.0.0.1:9/?restart_wait=0"
"""The discard port: nothing listens there, so a test that forgot its pools fails at once."""


def caches_at(location, **params):
    """CACHES with one StaydCache."""
    backend = "stayd.django.cache.StaydCache"
    return {"default": {"BACKEND": backend, "LOCATION": location, **params}}
