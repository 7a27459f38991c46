"""Live widgets for JupyterLab, backed by obslab's datasets."""
