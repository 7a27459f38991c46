"""Where samples end: each once, readable as Datasets while a collector writes.

batch -> hot -> store
"""
