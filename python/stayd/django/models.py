"""UserSession: a model without a table, for the permissions of the admin page.

The sessions themselves are in the pool: stayd.django.sessions.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class UserSession(models.Model):
    """Gives Django the permissions `stayd.view_usersession` and `stayd.delete_usersession`."""

    id = models.CharField(primary_key=True, max_length=24)

    class Meta:
        managed = False
        default_permissions = ("view", "delete")
        verbose_name = _("session of a user")
        verbose_name_plural = _("sessions of users")
