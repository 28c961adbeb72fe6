"""The addresses of the newsroom. All other addresses are pages that editors have made."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path, re_path
from wagtail import urls as wagtail_urls
from wagtail.admin import urls as wagtailadmin_urls
from wagtail.documents import urls as wagtaildocs_urls

urlpatterns = [
    path("admin/", include(wagtailadmin_urls)),
    path("django-admin/", admin.site.urls),
    path("documents/", include(wagtaildocs_urls)),
    path("account/sessions/", include("stayd.django.urls")),
    # Django serves the packages' static files itself. On a real site, the web server does that.
    re_path(r"^static/(?P<path>.*)$", serve, {"insecure": True}),
    path("", include(wagtail_urls)),
]
