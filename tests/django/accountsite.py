"""The site of the tests of users' sessions: testsite's pages, `my sessions`, the admin, and a page that
changes the password."""

import testsite
from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.http import HttpResponse
from django.urls import include, path


def change_password(request):
    """Sets the password, and keeps this browser logged in, as Django's own page does."""
    request.user.set_password(request.POST["password"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("changed")


def cycle(request):
    """Gives the session a new key, as a site does when a user gains rights."""
    request.session.cycle_key()
    return HttpResponse("cycled")


urlpatterns = [
    *testsite.urlpatterns,
    path("password/", change_password),
    path("cycle/", cycle),
    path("account/sessions/", include("stayd.django.urls")),
    path("admin/", admin.site.urls),
]
