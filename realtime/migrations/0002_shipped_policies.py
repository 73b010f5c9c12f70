"""The permissions that the platform ships with. Later ones are edited in the Django admin."""

from django.db import migrations

SUBSCRIBE, PUBLISH = "subscribe", "publish"

SHIPPED = [
    *[("admin", action, pattern) for action in (SUBSCRIBE, PUBLISH) for pattern in ("admin:*", "tenant:*", "system:*")],
    ("tenant_admin", SUBSCRIBE, "tenant:{tenant_id}:*"),
    ("tenant_admin", PUBLISH, "tenant:{tenant_id}:*"),
    ("tenant_user", SUBSCRIBE, "tenant:{tenant_id}:dashboard"),
    ("tenant_user", SUBSCRIBE, "tenant:{tenant_id}:notifications"),
    ("tenant_user", SUBSCRIBE, "tenant:{tenant_id}:billing"),
    ("tenant_user", PUBLISH, "tenant:{tenant_id}:notifications"),
    ("service", SUBSCRIBE, "tenant:{tenant_id}:*"),
    ("service", PUBLISH, "tenant:{tenant_id}:*"),
    ("everyone", SUBSCRIBE, "user:{user_id}:inbox"),
    ("everyone", SUBSCRIBE, "certification:timer:{user_id}"),
    ("everyone", SUBSCRIBE, "certification:results:{user_id}"),
]


def ship(apps, schema_editor):
    policy = apps.get_model("realtime", "ChannelPolicy")
    for role, action, pattern in SHIPPED:
        policy.objects.get_or_create(role=role, action=action, pattern=pattern)


class Migration(migrations.Migration):
    dependencies = [("realtime", "0001_policies")]
    operations = [migrations.RunPython(ship, migrations.RunPython.noop)]
