"""The admin page of users' sessions: find a user, see the user's sessions, end them.

Staff with the permission `stayd.view_usersession` see the page. To end sessions, they need
`stayd.delete_usersession`; the history on the user's admin page then records it.
"""

from typing import Any, Optional

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from stayd.django import sessions
from stayd.django.models import UserSession
from stayd.django.views import tell_ended

PER_PAGE = 100


@admin.register(UserSession)
class UserSessionAdmin(admin.ModelAdmin):
    """`?q=` finds users, `?user=` shows the sessions of one user. There is no table, so ModelAdmin's
    list is the only view, and this class replaces it."""

    def get_urls(self) -> list:
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="stayd_usersession_changelist")]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return sessions.is_on() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return sessions.is_on() and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: Optional[dict] = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request), "opts": self.model._meta,
            "title": _("Sessions of users"), "query": request.GET.get("q", ""),
            "may_end": self.has_delete_permission(request), **(extra_context or {}),
        }
        number = request.GET.get("page")
        if "user" in request.GET:
            user = _find_user(request.GET["user"])
            is_own = user.pk == request.user.pk
            session_key = request.session.session_key if is_own else None
            if request.method == "POST":
                return self._end(request, user, session_key)
            found = sessions.for_user(user, session_key)
            context.update(of_user=user, count=len(found),
                           page_obj=Paginator(found, PER_PAGE).get_page(number))
        elif context["query"]:
            users = _search(context["query"])
            context.update(page_obj=Paginator(users, PER_PAGE).get_page(number))
        return TemplateResponse(request, "admin/stayd/usersession/change_list.html", context)

    def _end(self, request, user, session_key):
        """Ends the sessions that the form names, or all sessions, except the session of this request."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        if "end_all" in request.POST:
            count = sessions.end_others(user, session_key)
        else:
            kept = {each.id for each in sessions.for_user(user, session_key) if each.is_current}
            chosen = set(request.POST.getlist("session")) - kept
            count = sum(1 for each in chosen if sessions.end(user, each))
        if count:
            text = ngettext("Ended %(count)d session.", "Ended %(count)d sessions.", count)
            self.log_change(request, user, text % {"count": count})
        tell_ended(request, count)
        return HttpResponseRedirect("?" + urlencode({"user": request.GET["user"]}))


def _find_user(text):
    model = get_user_model()
    try:
        return model._default_manager.get(pk=text)
    except (model.DoesNotExist, ValueError, ValidationError, OverflowError):
        raise Http404 from None


def _search(text):
    """The users whose name or e-mail address contains the text."""
    model = get_user_model()
    names = {model.USERNAME_FIELD, getattr(model, "EMAIL_FIELD", None)}
    fields = names & {each.name for each in model._meta.get_fields()}
    condition = Q()
    for field in fields:
        condition |= Q(**{f"{field}__icontains": text})
    return model._default_manager.filter(condition).order_by(model.USERNAME_FIELD)
