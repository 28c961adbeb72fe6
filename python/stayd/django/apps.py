"""The application, for INSTALLED_APPS. It registers the system checks and, if the site lists the
sessions of its users, the signals that end sessions when a password changes."""

from django.apps import AppConfig


class StaydConfig(AppConfig):
    """Its label is "stayd". (From "stayd.django", Django would derive the label "django".)"""

    name = "stayd.django"
    label = "stayd"
    verbose_name = "stayd"

    def ready(self):
        from stayd.django import checks  # noqa: F401  (importing it registers the checks)
        from stayd.django.sessions import is_on

        if is_on():
            from stayd.django import user_signals

            user_signals.connect()
