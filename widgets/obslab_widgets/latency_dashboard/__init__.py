"""How late samples came, what is missing and why: ``LatencyDashboard(archive)``.

state -> scopes, glance -> answer -> asking               (what the archive says, on a thread)
answer -> curves, calendar, timeline, listing -> model    (the picture, without a toolkit)
instants -> controls; model -> squares -> drawing -> view
"""

from obslab_widgets.latency_dashboard.view import LatencyDashboard

__all__ = ["LatencyDashboard"]
