"""The application, for INSTALLED_APPS. It only registers the system checks."""

from django.apps import AppConfig


class StaydConfig(AppConfig):
    """Its label is "stayd": the one that Django would derive from "stayd.django" is "django"."""

    name = "stayd.django"
    label = "stayd"
    verbose_name = "stayd"

    def ready(self):
        from stayd.django import checks  # noqa: F401  (importing it registers the checks)
