from django.urls import path

from portal import views
from portal.home import tenant_home

urlpatterns = [
    path("", views.home, name="home"),
    path("theme/", views.set_theme, name="theme"),
    path("t/<slug:slug>/", tenant_home, name="tenant_home"),
    path("t/<slug:slug>/jump/", views.jump, name="jump"),
]
