"""The operations portal at /ops/: what the platform's own staff watch, live."""
