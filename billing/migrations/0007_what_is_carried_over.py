from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_buyers_and_deleted_numbers")]

    operations = [
        migrations.AlterField(
            model_name="invoiceline",
            name="carries",
            field=models.BooleanField(
                default=False, help_text="Left to the next invoice, or taken over from earlier ones."
            ),
        ),
    ]
