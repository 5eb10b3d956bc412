"""The published benchmarks of knowledge editing, each read from its own files as they are published."""
