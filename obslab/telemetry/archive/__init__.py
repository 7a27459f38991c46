"""Where samples end: each once, readable as Datasets while a collector writes.

    batch -> chunk -> sealed -> entries -> hot -> union -> lazy, questions -> store
                                           hot -> seal -> repair -> upkeep -> store

Recent samples are rows in ``hot.db``; a day that is over is sealed into a chunk, a file in ``chunks/``, and
its summary kept beside. ``book.db`` has what is known beside samples. Nobody needs to know which is where.
"""
