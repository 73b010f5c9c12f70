"""An engine that says how many are connected, or is away."""

from events import engine_client


class EngineStub:
    connections = 5
    is_away = False

    def push(self, commands, timeout=None):
        if self.is_away:
            raise engine_client.EngineAway("The engine can't be reached.")
        return [{"info": {"nodes": [{"num_clients": self.connections, "uptime": 3}]}}]
