"""The solver: Gauss-Newton on mappings and stars, in dimensionless plane units.

    problem, blocks -> residuals -> matrices -> stars, normal   passes over all measurements, or all stars
    linear, freedom, termset                                    the state in a few numbers for each image
    squares -> shared, blockwise -> precondition ; dense        the reduced matrix: nearly, and exactly
    conjugate -> stepping -> solver -> newton                   a step, and the iterations

Residual r = outer(inner(u, v)) + shift - P(star). Each star's own equations (2 x 2; 5 x 5 with proper motion
and parallax) are solved at fixed mappings and so eliminated; the reduced system over all mapping coefficients
is solved by conjugate gradients without forming it, preconditioned with a matrix of half its size
(``precondition``).
"""
