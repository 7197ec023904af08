"""The parts of `scripts/benchmark.py mopo`."""
