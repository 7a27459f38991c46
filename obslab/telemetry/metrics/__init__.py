"""How late samples came and what is missing: numbers about the archive, as Datasets.

A day of a stream is condensed once into a summary of a few kB; every question about months or years is
answered from summaries alone, exactly for counts, gaps, means and maxima, and to 2 % for quantiles.

targets, histogram -> day -> summary -> schedule, causes -> gaps -> outages, completeness, latency, clocks
    -> measures

All of them put their numbers into the tables of ``datasets``; ``measures`` asks an archive.
"""
