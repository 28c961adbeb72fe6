"""The site of the tests: log in, log out, count, and a view that waits until a test lets it go
on."""

from django.contrib import auth
from django.core.cache import cache
from django.http import HttpResponse, HttpResponseForbidden
from django.urls import path

meanwhile = None
"""`interrupted` calls this between its change of the session and its answer."""


def log_in(request):
    """Logs in with the form's name and password."""
    name, password = request.POST["username"], request.POST["password"]
    user = auth.authenticate(request, username=name, password=password)
    if user is None:
        return HttpResponseForbidden("wrong")
    auth.login(request, user)
    return HttpResponse("welcome")


def log_out(request):
    """Logs out."""
    auth.logout(request)
    return HttpResponse("bye")


def who(request):
    """The user's name, or `nobody`."""
    return HttpResponse(request.user.get_username() or "nobody")


def count(request):
    """The number of this session's visits to this page."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


def interrupted(request):
    """Changes the session and calls `meanwhile`. Then the middleware saves the session."""
    request.session["late"] = True
    meanwhile()
    return HttpResponse("saved")


def plain(request):
    """A page that does not look at the session."""
    return HttpResponse("plain")


def cached(request):
    """How often this page has been made."""
    return HttpResponse(cache.get_or_set("page", lambda: "made"))


urlpatterns = [
    path("login/", log_in),
    path("logout/", log_out),
    path("who/", who),
    path("count/", count),
    path("interrupted/", interrupted),
    path("plain/", plain),
    path("cached/", cached),
]
