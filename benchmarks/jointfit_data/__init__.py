"""Data of jointfit.py with known truth, and programs that fit them; each prints JSON.

simulate.py makes a data set (truth.py has its camera and sky, ldac.py SCAMP's format), evaluate.py scores a
fit, run_scamp.py and run_obslab.py make one.
"""
