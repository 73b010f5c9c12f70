from django.urls import path

from portal.ops import home

urlpatterns = [
    path("", home.ops_home, name="ops_home"),
]
