"""Benches: every kernel of the dispatch table, each implementation against the reference."""
