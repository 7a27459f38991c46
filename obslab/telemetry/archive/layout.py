"""The tables of an archive's hot store, ``hot.db``: recent samples, and the catalogue of sealed days."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE stream (
        id INTEGER PRIMARY KEY,
        station TEXT NOT NULL,
        instrument TEXT NOT NULL,
        samplerate TEXT NOT NULL,
        UNIQUE (station, instrument, samplerate)
    );
    CREATE TABLE sample (
        id INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        arrival_ns INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (stream, time_ns)
    );
    CREATE TABLE contradiction (
        stream INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        arrival_ns INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (stream, time_ns, body)
    );
    CREATE TABLE rejected (
        id INTEGER PRIMARY KEY,
        arrival_ns INTEGER NOT NULL,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        reason TEXT NOT NULL,
        waiting INTEGER NOT NULL,
        times INTEGER NOT NULL DEFAULT 1,
        UNIQUE (topic, payload)
    );
    CREATE TABLE meta (
        topic TEXT NOT NULL,
        valid_from_ns INTEGER NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (topic, valid_from_ns)
    );
    CREATE TABLE counter (
        stream INTEGER NOT NULL,
        name TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (stream, name)
    );
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL)
    """,
    """
    CREATE TABLE chunk (
        stream INTEGER NOT NULL,
        day_ns INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        state TEXT NOT NULL,
        file TEXT NOT NULL,
        n INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        crc32 INTEGER NOT NULL,
        begin_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        first_arrival_ns INTEGER NOT NULL,
        last_arrival_ns INTEGER NOT NULL,
        summary BLOB NOT NULL,
        changed_ns INTEGER NOT NULL,
        checked_ns INTEGER NOT NULL,
        PRIMARY KEY (stream, day_ns, generation)
    );
    CREATE INDEX chunk_state ON chunk (state, checked_ns)
    """,
)

TOMBSTONE = -1
"""The stream of the row that keeps the highest row id when its sample was sealed.

Whoever follows the archive goes on from a row id: it must never be given to another sample.
"""
