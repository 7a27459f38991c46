"""MagPy's side of formats.py; runs in MagPy's environment: reads tasks, one a line, answers in seconds."""

import contextlib
import json
import sys
import time
import warnings

from magpy.stream import example5, read

warnings.simplefilter("ignore")
ANSWERS = sys.stdout


def main(folder):
    for line in sys.stdin:
        what = line.strip()
        if what == "example":
            answer(str(example5))
        elif what.endswith("write"):
            answer(
                writing(f"{folder}/magpy/", {"iaga2002": "IAGA", "imagcdf": "IMAGCDF"}[what.split("_")[0]])
            )
        else:
            answer(reading(str(example5) if what == "iaga2002_read" else f"{folder}/day.cdf"))


def reading(path):
    began = time.perf_counter()
    data = read(path)
    took = time.perf_counter() - began
    if data.length()[0] != 86_400:
        raise SystemExit(f"{path} has {data.length()[0]} samples")
    return took


def writing(folder, form):
    day = read(str(example5))  # anew each time: writing alters its header
    began = time.perf_counter()
    if not day.write(folder, filenamebegins="magpy", format_type=form):
        raise SystemExit(f"nothing was written as {form}")
    return time.perf_counter() - began


def answer(value):
    ANSWERS.write(json.dumps(value) + "\n")
    ANSWERS.flush()


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # MagPy prints
        main(sys.argv[1])
