"""The embedded real-time engine: Centrifugo's JSON client protocol and server API as a plain ASGI application.

One process, in memory. It knows nothing of the platform around it: what it is told comes from a configuration file in
Centrifugo's own format, from its server API and from the connect proxy. See docs/engine.md.
"""
