"""Which change becomes which event. The signals are sent by actions, inside their transaction."""

from django.dispatch import Signal, receiver

from events.emit import emit
from monitoring.events import MetricsUpdate
from monitoring.models import LatestMetrics

#: A tenant's metrics have changed, and it is time to say so: latest.
metrics_due = Signal()


@receiver(metrics_due)
def say_how_they_are(latest: LatestMetrics, **_: object) -> None:
    """By nobody, whoever measured: figures several times a second are no activity of anyone's."""
    emit(MetricsUpdate.of(latest))
