"""The figures of geomagnetism.py, one module for each question; each has ``measure(quick)``."""
