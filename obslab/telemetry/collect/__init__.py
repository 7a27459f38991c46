"""From a broker into an archive, and from the archive back to the stations.

    intake, exchange (IMPF), words -> comparing, asking -> keeper -> upkeep -> collector -> stations
    choosing, fitting -> news -> inbox, remote -> backfill

The collector stores what comes and then acknowledges it. The keeper compares the stations' ledgers with
what is stored, confirms, and asks for what lacks; backfill reads it from files elsewhere.
"""
