"""The engine's contract, by address only: every test runs against the embedded engine and against a real Centrifugo."""
