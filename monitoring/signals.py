"""Which change becomes which event. The signals are sent by actions, inside their transaction."""

from django.dispatch import Signal, receiver

from events.emit import emit
from monitoring.events import MetricsUpdate, SamplesStored
from monitoring.models import LatestMetrics

#: A tenant's metrics have changed, and it is time to say so: latest.
metrics_due = Signal()
#: So many samples were stored since this was sent last: latest, count.
samples_counted = Signal()


@receiver(metrics_due)
def say_how_they_are(latest: LatestMetrics, **_: object) -> None:
    """By nobody, whoever measured: figures several times a second are no activity of anyone's."""
    emit(MetricsUpdate.of(latest))


@receiver(samples_counted)
def say_how_many(latest: LatestMetrics, count: int, **_: object) -> None:
    emit(SamplesStored(tenant_id=latest.tenant_id, count=count))
