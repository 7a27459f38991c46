"""From associated measurements to a solved astrometric fit.

    motion, starting, weights -> assembling (Problem, State) ; connections (what hangs together)
    stages, holdout, floors -> run (Outcome)
"""
