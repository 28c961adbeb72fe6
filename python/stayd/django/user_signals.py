"""Ends the sessions of a user whose password changes, who is deactivated, or who is deleted.

Connected by stayd.django.apps if the site lists its users' sessions. A change counts when its
transaction is committed. `QuerySet.update` sends no signal: after it, call
stayd.django.sessions.end_all.

Django itself no longer accepts the sessions of such users when a page asks for the user. But they
stay in the pool, with their data; a page that does not ask for the user still works; and they come
back when a user is activated again.
"""

import logging

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save

from stayd.django import sessions
from stayd.errors import Error

WATCHED = ("password", "is_active")

logger = logging.getLogger("stayd")


def connect():
    """Connects the signals, once."""
    for signal, handler in (
        (pre_save, _compare), (post_save, _end_after_save), (post_delete, _end_after_delete),
        (user_logged_out, _note_logout),
    ):
        signal.connect(handler, dispatch_uid=f"stayd.{handler.__name__}")


def _is_watched(model):
    return issubclass(model, get_user_model()) and sessions.is_on()


def _compare(sender, instance, raw, using, update_fields, **_):
    """Reads the stored user, if this save may change the password or `is_active`."""
    if raw or not _is_watched(sender) or instance._state.adding:
        return
    fields = [each.attname for each in instance._meta.concrete_fields if each.attname in WATCHED]
    if update_fields is not None:
        fields = [each for each in fields if each in update_fields]
    stored = fields and (
        get_user_model()._base_manager.using(using).filter(pk=instance.pk).values(*fields).first()
    )
    if stored:
        new = {name: instance.__dict__.get(name, value) for name, value in stored.items()}
        password_changes = stored.get("password") != new.get("password")
        deactivated = stored.get("is_active") and not new.get("is_active")
        instance._stayd_ends_sessions = bool(password_changes or deactivated)


def _end_after_save(sender, instance, using, **_):
    if instance.__dict__.pop("_stayd_ends_sessions", False):
        _end_on_commit(instance, using)


def _end_after_delete(sender, instance, using, **_):
    if _is_watched(sender):
        _end_on_commit(instance, using)


def _end_on_commit(user, using):
    """Ends the sessions as soon as the change is committed. If the pool cannot be reached then, the
    change stays, and the fault is logged."""
    user_id, name = sessions.user_id_of(user), user.get_username()

    def end():
        try:
            count = sessions.end_all_of(user_id)
        except Error as error:
            logger.error("The sessions of user %r could not be ended: %s", name, error)
        else:
            logger.info("Sessions of user %r that were ended: %d", name, count)

    transaction.on_commit(end, using=using)


def _note_logout(sender, request, user, **_):
    """Notes the user for the middleware, which cannot see in the response whose session it was."""
    if user is not None and request is not None:
        request.stayd_logged_out = sessions.user_id_of(user)
