"""``python -m obslab``: the command line."""

from obslab.cli import main

main()
