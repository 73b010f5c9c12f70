from django.urls import path

from portal import activity, keys, members, monitoring, policies, rules, settings_page, views
from portal.home import tenant_home

ALERT = "t/<slug:slug>/monitoring/alerts/<uuid:alert_id>/"

urlpatterns = [
    path("", views.home, name="home"),
    path("theme/", views.set_theme, name="theme"),
    path("t/<slug:slug>/", tenant_home, name="tenant_home"),
    path("t/<slug:slug>/jump/", views.jump, name="jump"),
    path("t/<slug:slug>/activity/", activity.activity, name="activity"),
    path("t/<slug:slug>/monitoring/", monitoring.monitoring, name="monitoring"),
    path("t/<slug:slug>/monitoring/undo/", monitoring.undo, name="undo_alert"),
    path(ALERT, monitoring.alert, name="alert"),
    path(f"{ALERT}acknowledge/", monitoring.acknowledge, name="acknowledge"),
    path(f"{ALERT}unacknowledge/", monitoring.unacknowledge, name="unacknowledge"),
    path(f"{ALERT}resolve/", monitoring.resolve, name="resolve_alert"),
    path(f"{ALERT}silence/", monitoring.silence, name="silence_alert"),
    path("t/<slug:slug>/monitoring/silences/<uuid:silence_id>/end/", monitoring.end_silence, name="end_silence"),
    path("t/<slug:slug>/monitoring/rules/new/", rules.new_rule, name="new_rule"),
    path("t/<slug:slug>/monitoring/rules/undo/", rules.undo_delete, name="undo_delete_rule"),
    path("t/<slug:slug>/monitoring/rules/<uuid:rule_id>/", rules.alert_rule, name="alert_rule"),
    path("t/<slug:slug>/monitoring/rules/<uuid:rule_id>/delete/", rules.delete_rule, name="delete_rule"),
    path("t/<slug:slug>/monitoring/policies/", policies.alert_policies, name="alert_policies"),
    path("t/<slug:slug>/monitoring/policies/new/", policies.new_policy, name="new_policy"),
    path("t/<slug:slug>/monitoring/policies/<uuid:policy_id>/", policies.alert_policy, name="alert_policy"),
    path("t/<slug:slug>/monitoring/policies/<uuid:policy_id>/delete/", policies.delete_policy, name="delete_policy"),
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
