from django.db import migrations, models


def name_by_id(apps, schema_editor):
    """Alerts had the names of those called. A name that several people have, or nobody any more, says nobody."""
    User = apps.get_model("accounts", "User")
    Alert = apps.get_model("monitoring", "Alert")
    ids = {}
    for key, *names in User.objects.values_list("pk", "name", "email"):
        ids.setdefault(next(filter(None, names)), []).append(str(key))
    for alert in Alert.objects.filter(called_at__isnull=False).iterator():
        found = [ids.get(name, []) for name in alert.called]
        alert.called = [one[0] for one in found if len(one) == 1]
        alert.save(update_fields=["called"])


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_invitation_of_a_tenant'),
        ('monitoring', '0004_alerts'),
    ]

    operations = [
        migrations.AlterField('alert', 'called', models.JSONField(blank=True, default=list, help_text='Ids of those called last.')),
        migrations.RunPython(name_by_id, migrations.RunPython.noop),
    ]
