"""What happened to flags, as a Dataset."""

from __future__ import annotations

from obslab.schema import Schema, Var

HISTORY = Schema(
    "history of flags",
    {
        "id": Var(("change",), "int64", "1", "Number of the change in its book."),
        "time": Var(("change",), "datetime64[ns]", "", "When it was made, by the clock of who made it."),
        "flag": Var(("change",), "int64", "1", "Number of the flag."),
        "stream": Var(("change",), "str", "", "Stream of the flag, as in ``WIC lemi036 sec``."),
        "component": Var(("change",), "str", "", "Its component; empty: all."),
        "begin": Var(("change",), "datetime64[ns]", "", "First sample flagged."),
        "end": Var(("change",), "datetime64[ns]", "", "First sample after it that is not."),
        "kind": Var(("change",), "str", "", "spike, step or mark."),
        "action": Var(("change",), "str", "", "propose, set, confirm, withdraw, undo or redo."),
        "state": Var(("change",), "str", "", "What the flag was after it: proposed, confirmed or withdrawn."),
        "author": Var(("change",), "str", "", "Who made it: a person, or the name of a detector."),
        "reason": Var(("change",), "str", "", "Why, in words; may be empty for other than propose and set."),
    },
)
"""Changes of flags in the order they were made."""
