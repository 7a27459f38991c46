"""What an observatory makes of an archive: minutes, adjusted and definitive data, files for others.

    merging, storing -> adjusting -> following
    merging, storing -> minutes -> indices
                        minutes, files -> export

Each takes an Archive and gives a Dataset, or a batch to store beside what it was made of: a derived stream,
such as ``WIC lemi036-adj sec``. Derived streams are made whole: a value that comes out different the next
time is a new version, and the archive keeps the one before.
"""
