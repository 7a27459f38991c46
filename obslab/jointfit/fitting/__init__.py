"""From associated measurements to a solved astrometric fit.

motion -> choices -> movers, image_plane, starting, weights -> assembling (Problem, State)
tables (in order) ; connections (what hangs together) -> leaving ; fixed
stages, holdout, floors, shrinkage -> run (Outcome) -> again (a refit)
covariance (when asked for)
"""
