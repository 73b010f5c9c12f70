"""What happens when a server of ours starts: it says in the log what it waits for, and answers meanwhile.

Not when its module is loaded: tests load it too, and a thread would be at their database before they are.
"""

import logging
import threading

from events import waiting
from realtime.gate import Receive, Send


def say_what_is_waited_for(name: str) -> None:
    threading.Thread(target=waiting.for_database, args=[logging.getLogger(name)], daemon=True).start()


async def answer(receive: Receive, send: Send) -> None:
    """Nothing else is to be done when it starts, nor when it ends."""
    for moment in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{moment}.complete"})
