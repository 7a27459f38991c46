"""The figures of telemetry.py, one module for each question; each has ``measure(quick)``."""
