"""The bookshop's pages."""

from django.contrib.auth import views as auth_views
from django.urls import path

from bookshop import views

urlpatterns = [
    path("", views.shelf, name="shelf"),
    path("books/<slug:slug>/", views.book, name="book"),
    path("basket/", views.basket, name="basket"),
    path("account/", views.account, name="account"),
    path("cache/clear/", views.clear_cache, name="clear-cache"),
    path("login/", auth_views.LoginView.as_view(), name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
]
