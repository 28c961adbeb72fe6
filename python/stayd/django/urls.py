"""The URL of `my sessions`: include("stayd.django.urls") where the page shall be."""

from django.urls import path

from stayd.django.views import my_sessions

app_name = "stayd"
urlpatterns = [path("", my_sessions, name="my_sessions")]
