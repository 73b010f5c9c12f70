"""What this process counts. Labels have few values: never a person, a channel or a tenant."""

from prometheus_client import Counter

GATE_ANSWERS = Counter("neostack_gate_answers", "Connections the gate was asked about, by its answer.", ["answer"])
TOKENS = Counter("neostack_subscription_tokens", "Subscription tokens asked for, by outcome.", ["outcome"])
PUBLICATIONS = Counter("neostack_publications", "Requests to publish an event, by HTTP status.", ["status"])
POSITIONS_AWAY = Counter(
    "neostack_positions_away", "Pages rendered without positions, because the engine did not answer in time."
)
