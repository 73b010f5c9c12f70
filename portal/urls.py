from django.urls import path

from portal import activity, keys, members, monitoring, settings_page, views
from portal.alert_pages import pages_of_tenants
from portal.home import tenant_home

urlpatterns = [
    path("", views.home, name="home"),
    path("theme/", views.set_theme, name="theme"),
    path("t/<slug:slug>/", tenant_home, name="tenant_home"),
    path("t/<slug:slug>/jump/", views.jump, name="jump"),
    path("t/<slug:slug>/activity/", activity.activity, name="activity"),
    path("t/<slug:slug>/monitoring/", monitoring.monitoring, name="monitoring"),
    *pages_of_tenants(),
    path("t/<slug:slug>/members/", members.members, name="members"),
    path("t/<slug:slug>/members/invite/", members.invite, name="invite"),
    path("t/<slug:slug>/members/undo/", members.undo_removal, name="undo_removal"),
    path("t/<slug:slug>/members/<int:membership>/role/", members.change_role, name="change_role"),
    path("t/<slug:slug>/members/<int:membership>/remove/", members.remove, name="remove_member"),
    path("t/<slug:slug>/members/<int:membership>/invite/", members.invite_again, name="invite_again"),
    path("t/<slug:slug>/keys/", keys.api_keys, name="api_keys"),
    path("t/<slug:slug>/keys/new/", keys.create, name="create_api_key"),
    path("t/<slug:slug>/keys/<uuid:key_id>/revoke/", keys.revoke, name="revoke_api_key"),
    path("t/<slug:slug>/settings/", settings_page.tenant_settings, name="tenant_settings"),
]
