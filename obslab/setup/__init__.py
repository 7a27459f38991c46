"""Setting up a machine: the files that `obslab init` writes, and what `obslab check` finds.

templates, units -> folder        checks
"""
