"""The interface between the engine and its users: protocols, the values they pass, the errors they raise.

The engine implements the protocols; RPC, wire, sessions and the transcript use nothing else of the engine.

Reads are plain functions, safe on any thread, and answer only from what is durable and published; the dispatcher runs
them on its reader threads. A function that writes or waits is a coroutine of the node's event loop. The errors raised
are subclasses of `chain.errors.ZvmdError`; any other exception is a bug.
"""
