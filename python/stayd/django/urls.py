"""The URL of the page `my sessions`: a site writes include("stayd.django.urls") where it wants the
page."""

from django.urls import path

from stayd.django.views import my_sessions

app_name = "stayd"
urlpatterns = [path("", my_sessions, name="my_sessions")]
