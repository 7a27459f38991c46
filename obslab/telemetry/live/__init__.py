"""What live widgets read.

ring -> source -> following, listening -> sources
"""
