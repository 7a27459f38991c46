"""What MagPy reads, and files that MagPy writes; runs in MagPy's environment.

oracle_formats.py examples                     paths of the example files
oracle_formats.py read FILE OUT.npz            begin, end and columns as MagPy has them
oracle_formats.py write FILE FORMAT FOLDER     FILE in the format IAGA or IMAGCDF
"""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np


def main(what, *arguments):
    with contextlib.redirect_stdout(io.StringIO()):  # MagPy prints
        told = {"examples": examples, "read": read_files, "write": write_file}[what](*arguments)
    sys.stdout.write(json.dumps(told))


def examples():
    from magpy.stream import example4, example5, example7

    return {"storm": str(example4), "day": str(example5), "baseline": str(example7)}


def read_files(folder, *paths):
    return [read_file(Path(folder), path) for path in paths]


def read_file(folder, path):
    from magpy.stream import read

    data = read(path)
    keys = data._get_key_headers()
    time = np.array(data.ndarray[0], dtype="datetime64[ns]").astype(np.int64)
    columns = {key: np.asarray(data._get_column(key), dtype=float) for key in keys}
    out = folder / f"{Path(path).name}.npz"
    np.savez(out, time_ns=time, **columns)
    return {
        "out": str(out),
        "letters": {key: str(data.header.get(f"col-{key}", "")).lower() for key in keys},
        "units": {key: str(data.header.get(f"unit-col-{key}", "")) for key in keys},
        "header": {key: str(value)[:200] for key, value in data.header.items()},
    }


def write_file(path, form, folder):
    from magpy.stream import read

    return {"path": str(read(path).write(folder, filenamebegins="xxx", format_type=form))}


if __name__ == "__main__":
    main(*sys.argv[1:])
