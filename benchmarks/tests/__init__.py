"""Tests of the benchmarks' arithmetic, and one short real run."""
