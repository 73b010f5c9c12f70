"""What this process counts. Labels have few values: never a person, a channel or a tenant."""

from prometheus_client import Counter

GATE_ANSWERS = Counter("neostack_gate_answers", "Connections the gate was asked about, by its answer.", ["answer"])
GATE_DATABASE_READS = Counter(
    "neostack_gate_database_reads", "Queries of the gate's: for people of whom Redis does not know the generation."
)
TOKENS = Counter("neostack_subscription_tokens", "Subscription tokens asked for, by outcome.", ["outcome"])
PUBLICATIONS = Counter("neostack_publications", "Requests to publish an event, by HTTP status.", ["status"])
POSITIONS_AWAY = Counter(
    "neostack_positions_away", "Pages rendered without positions, because the engine did not answer in time."
)

# Known from the start, so that a first one is seen as a rise.
for _answer in ("accepted", "refused", "try_again"):
    GATE_ANSWERS.labels(_answer)
for _outcome in ("given", "denied"):
    TOKENS.labels(_outcome)
