"""What proving a backup costs: ``python -m tests.bench``, or ``make bench``.

Knows: how to make data with a real server, and to measure what reads it, in interleaved rounds.
Refuses to know: what is fast enough for a test; nothing here passes or fails by the clock.
"""
