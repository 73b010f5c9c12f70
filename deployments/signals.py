"""Which change becomes which event. The signals are sent by actions, inside their transaction."""

from collections.abc import Sequence

from django.dispatch import Signal, receiver

from deployments.events import DeploymentLog, DeploymentUpdate
from deployments.models import Deployment, LogBlock
from events.actors import HasActor
from events.emit import emit

#: deployment: Deployment, by: HasActor | None, place: int | None (in the queue, where the sender has read it)
deployment_changed = Signal()
#: blocks: Sequence[LogBlock]
log_written = Signal()


@receiver(deployment_changed)
def say_how_it_is(deployment: Deployment, by: HasActor | None = None, place: int | None = None, **_: object) -> None:
    known = {} if place is None else {"queue_position": place}
    emit(DeploymentUpdate.of(deployment, **known), by=by)


@receiver(log_written)
def say_what_it_wrote(blocks: Sequence[LogBlock], **_: object) -> None:
    for block in blocks:
        emit(DeploymentLog.of(block))
