"""The live session: messages, state machine, errors. The standard library, msgpack and msgspec; performs no I/O."""
