"""obslab: one notebook environment for running an observatory.

The parts: ``telemetry`` (live instrument data over MQTT, archived without loss). Each part's
docstring draws its pipeline; ``obslab_widgets`` shows them in JupyterLab.
"""

__version__ = "0.1.0.dev0"
