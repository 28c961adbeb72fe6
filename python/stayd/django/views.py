"""The page on which users see their own sessions, and end them.

    path("account/sessions/", include("stayd.django.urls"))

Its template is stayd/my_sessions.html, which extends stayd/base.html. If the site has a template with
one of these names, that is used instead.
"""

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from stayd.django import sessions

PER_PAGE = 50


@never_cache
@csrf_protect
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def my_sessions(request: HttpRequest) -> HttpResponse:
    """GET: the user's sessions. POST: `end=ID` ends that session, `end_others` all sessions but this
    one."""
    if not sessions.is_on():
        raise ImproperlyConfigured(f"This page needs {sessions.MIDDLEWARE!r} in MIDDLEWARE.")
    user: Any = request.user
    session_key = request.session.session_key
    found = sessions.for_user(user, session_key)
    if request.method == "POST":
        return _end(request, user, session_key, found)
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {"page_obj": page, "count": len(found)}
    return render(request, "stayd/my_sessions.html", context)


def _end(request, user, session_key, found):
    chosen = request.POST.get("end", "")
    if any(each.is_current and each.id == chosen for each in found):
        logout(request)
        return redirect_to_login(request.path)
    if "end_others" in request.POST:
        tell_ended(request, sessions.end_others(user, session_key))
    elif sessions.end(user, chosen):
        tell_ended(request, 1)
    else:
        messages.info(request, _("This session had already ended."), fail_silently=True)
    return HttpResponseRedirect(request.path)


def tell_ended(request: HttpRequest, count: int) -> None:
    """Tells the user on the next page how many sessions have ended."""
    text = ngettext("%(count)d session has ended.", "%(count)d sessions have ended.", count)
    messages.success(request, text % {"count": count}, fail_silently=True)
