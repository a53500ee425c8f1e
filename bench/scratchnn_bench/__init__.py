"""Benches: scratchnn against PyTorch, and every kernel of the dispatch table against the reference."""
