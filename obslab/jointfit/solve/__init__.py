"""The solver: Gauss-Newton on mappings and stars, in dimensionless plane units.

    problem, blocks -> residuals -> stars, normal -> precondition, dense -> termset -> solver -> newton
    (what is given)    (kernels: passes over all measurements)                     (a step)  (iterations)

Residual r = outer(inner(u, v)) + shift - P(star). Each star's own equations (2 x 2; 5 x 5 with proper motion and
parallax) are solved at fixed mappings and so eliminated; the reduced system over all mapping coefficients is
solved by conjugate gradients without forming it, preconditioned with a matrix of half its size (``precondition``).
"""
