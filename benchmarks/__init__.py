"""benchmarks: what `make bench` measures; each number stands beside another that was measured in the same run."""
