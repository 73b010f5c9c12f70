import logging
import threading

from celery import current_app

logger = logging.getLogger("events.relay")

WAKE_AT_MOST_EVERY_SECONDS = 0.5


class HandlerWaker:
    """Asks Celery to wake the handlers, from a thread of its own: a broker that hangs must not hold the relay up.

    A wake-up that is lost loses nothing: beat wakes them every few seconds anyway.
    """

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._broker_is_away = False
        threading.Thread(target=self._run, name="handler-waker", daemon=True).start()

    def wake(self) -> None:
        self._wanted.set()

    def _run(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            self._send()
            threading.Event().wait(WAKE_AT_MOST_EVERY_SECONDS)

    def _send(self) -> None:
        try:
            with current_app.connection_or_acquire() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0)
                current_app.send_task("events.tasks.wake_handlers", connection=connection, retry=False, expires=5)
        except Exception as error:
            # Whatever a broker's library raises: it is said once, and beat's wake-ups remain.
            if not self._broker_is_away:
                logger.warning("Can't wake the handlers, Celery's broker is away: %s", error)
            self._broker_is_away = True
        else:
            self._broker_is_away = False
