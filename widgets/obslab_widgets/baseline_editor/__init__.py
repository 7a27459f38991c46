"""Baselines of a variometer, from spots to what is adopted: ``BaselineEditor(archive, absolutes)``.

state -> supply, fitted -> effect -> desk -> axes -> telling -> model -> drawing
edits, adopting -> editing; fields -> controls; given, worker, drawing -> view
"""

from obslab_widgets.baseline_editor.view import BaselineEditor

__all__ = ["BaselineEditor"]
