"""{% load stayd %}: the filter `browser`."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

from stayd.django.user_agents import browser_of, system_of

register = template.Library()


@register.filter
def browser(user_agent: str) -> str:
    """What a person calls the browser: "Firefox on Linux". The template escapes it."""
    name, system = browser_of(user_agent), system_of(user_agent)
    if name and system:
        return _("%(browser)s on %(system)s") % {"browser": name, "system": system}
    return name or system or user_agent[:60] or _("unknown")
