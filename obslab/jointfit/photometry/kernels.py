"""The passes over all points: star by star, in parts that do not depend on the number of threads.

Points lie in the order of their stars, so all that concerns one star happens in one go: its value at the
present terms, the judgement over its points, and its share in the normal equations. With the star's value at
its best for given terms, the gradient of the reduced problem is that of the full one, and the reduced matrix
is sum w a a' - sum_star g g' / C with g = sum w a over the star's points and C its information.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from obslab.jointfit.photometry.gathering import MAG_PER_E, REJECTED, USED
from obslab.jointfit.photometry.rejection import bin_of, judge, look

FREE, STRICT, LOOK = range(3)
"""Verdicts over points: they come and go; or only go; or none, and stars are medians, in magnitudes."""

TOTALS = 8
POINTS, STARS, CHI2, REFERENCES, REFERENCE_CHI2, REJECTED_POINTS, REJECTED_REFERENCES, CHANGED = range(TOTALS)
"""What ``sweep`` counts, twice: fitted stars in row 0, held-out ones in row 1."""

ERROR_BINS = 160
"""Of the errors of bright points, four an octave."""


@njit(cache=True, nogil=True, error_model="numpy")
def sweep(
    part: int, bounds: Any, first: Any,
    image: Any, fx: Any, fy: Any, value: Any, error: Any, state: Any,
    star: Any, information: Any, color: Any, held: Any,
    reference_value: Any, reference_error: Any, reference_state: Any,
    zero: Any, detector: Any, illumination: Any, tint: Any, parent: Any, by_v: Any, terms: Any,
    fluxes: bool, soft: float, floor: float, cut: float, verdict: int, bright: float, matrix: bool,
    gradient: bool, normal: Any, right: Any, diagonal: Any, totals: Any, histogram: Any,
    bright_histogram: Any, bright_sums: Any,
    reals: Any, bases: Any, actives: Any, places: Any, rows: Any, ats: Any, crosses: Any,
    seens: Any, slots: Any, toucheds: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """One pass at these terms: stars, judgement, sums, and of the reduced normal equations what is wanted.

    Points are mag = star + term + noise, or with ``fluxes`` flux = star * 10**(-0.4 term) + noise. ``soft``
    is added in quadrature to the errors of magnitudes, which makes all stars count alike before it is known
    which are wrong. Each pair of terms adds to ``normal`` in one of its two places. ``normal`` to
    ``bright_sums`` and ``seens`` come in as zeros; ``reals`` to ``toucheds`` are scratch, because
    arrays made here would cost seconds of compiling.
    """
    curved = len(parent) - 1
    A, g, d = normal[part], right[part], diagonal[part]
    sums, counts, moments, bright_counts = (
        totals[part],
        histogram[part],
        bright_sums[part],
        bright_histogram[part],
    )
    y, slope, weight = reals[part, 0], reals[part, 1], reals[part, 2]
    chi2, ordered = reals[part, 3], reals[part, 4]
    basis, active, place = bases[part], actives[part], places[part]
    row, at, cross = rows[part], ats[part], crosses[part]
    seen, slot, touched = seens[part], slots[part], toucheds[part]
    extra = floor * floor + (0.0 if fluxes else soft * soft)
    for k in range(bounds[part], bounds[part + 1]):
        points = 0
        for n in range(first[k], first[k + 1]):
            if state[n] > REJECTED:
                continue
            i = image[n]
            t = terms[zero[i]]
            if detector[i] >= 0:
                t += terms[detector[i]]
            phi = basis[points]
            phi[0] = 1.0
            if curved:
                c = illumination[i]
                for j in range(1, curved + 1):
                    phi[j] = phi[parent[j]] * (fy[n] if by_v[j] else fx[n])
                    t += terms[c + j - 1] * phi[j]
            if tint[i] >= 0:
                t += terms[tint[i]] * color[k]
            e = np.float64(error[n])
            if fluxes:
                s = np.exp(-t / MAG_PER_E)
                f = star[k] * s / MAG_PER_E if np.isfinite(star[k]) else 0.0
                slope[points] = s
                y[points] = value[n]
                weight[points] = 1 / (e * e + extra * f * f)
            else:
                slope[points] = 1.0
                y[points] = value[n] - t
                weight[points] = 1 / (e * e + extra)
            active[points] = state[n] == USED
            place[points] = n
            points += 1
        if not points:
            information[k] = 0.0
            star[k] = np.nan
            continue
        has_reference = reference_state[k] <= REJECTED
        if has_reference:
            y[points] = reference_value[k]
            slope[points] = 1.0
            e = reference_error[k]
            weight[points] = 1 / (e * e + soft * soft)
            active[points] = reference_state[k] == USED
        everything = points + 1 if has_reference else points
        if verdict == LOOK:
            best, inform = look(everything, y, weight, active, chi2, ordered)
        else:
            best, inform = judge(everything, y, slope, weight, active, chi2, cut, verdict == FREE)
        star[k] = best
        information[k] = inform
        tally = sums[1 if held[k] else 0]
        tally[STARS] += 1 if inform > 0 else 0
        if has_reference:
            now = USED if active[points] else REJECTED
            tally[CHANGED] += 1 if now != reference_state[k] else 0
            reference_state[k] = now
            tally[REFERENCES] += 1 if now == USED else 0
            tally[REJECTED_REFERENCES] += 1 if now == REJECTED else 0
            r = reference_value[k] - best
            tally[REFERENCE_CHI2] += weight[points] * r * r if now == USED else 0.0
        touches = 0
        for p in range(points):
            n = place[p]
            now = USED if active[p] else REJECTED
            tally[CHANGED] += 1 if now != state[n] else 0
            state[n] = now
            r = y[p] - slope[p] * best
            w = weight[p]
            share = w * slope[p] * slope[p] / inform if inform > 0 else 1.0
            counts[bin_of(chi2[p])] += 1
            e = np.float64(error[n])
            scale = 1.0
            if fluxes:
                scale = max(slope[p] * best, 1e-300) / MAG_PER_E
                e /= scale
            if e < bright and share < 0.99:
                alone = (r / scale) ** 2 / (1 - share if active[p] else 1 + share)
                bright_counts[bin_of(alone)] += 1
                if active[p]:
                    b = bin_of(e) >> 4
                    moments[b, 0] += 1
                    moments[b, 1] += alone
                    moments[b, 2] += e * e
            if not active[p]:
                tally[REJECTED_POINTS] += 1
                continue
            tally[POINTS] += 1
            tally[CHI2] += w * r * r
            if held[k] or not gradient or inform <= 0:
                continue
            i = image[n]
            many = 1
            at[0] = zero[i]
            row[0] = 1.0
            if detector[i] >= 0:
                at[1] = detector[i]
                row[1] = 1.0
                many = 2
            for j in range(1, curved + 1):
                at[many] = illumination[i] + j - 1
                row[many] = basis[p, j]
                many += 1
            if tint[i] >= 0:
                at[many] = tint[i]
                row[many] = color[k]
                many += 1
            by_term = -slope[p] * best / MAG_PER_E if fluxes else 1.0
            pull = w * r * by_term
            for a in range(many):
                g[at[a]] += pull * row[a]
            if not matrix:
                continue
            own = w * by_term * by_term
            shared = w * by_term * slope[p]
            for a in range(many):
                j = at[a]
                f = own * row[a]
                line = A[j]
                for b in range(a, many):
                    line[at[b]] += f * row[b]
                d[j] += f * row[a]
                if seen[j] != k + 1:
                    seen[j] = k + 1
                    slot[j] = touches
                    cross[touches] = 0.0
                    touched[touches] = j
                    touches += 1
                cross[slot[j]] += shared * row[a]
        for a in range(touches):
            f = cross[a] / inform
            line = A[touched[a]]
            for b in range(a + 1):
                line[touched[b]] -= f * cross[b]
