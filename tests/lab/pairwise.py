"""Pairwise selection: few rows in which every pair of values of two columns appears."""

from itertools import combinations, product


def pairs_of(row):
    """The pairs of (column, value) that a row (a dict) has."""
    return set(combinations(sorted(row.items()), 2))


def _rows(columns, allowed):
    names = list(columns)
    return [r for r in (dict(zip(names, values)) for values in product(*columns.values())) if allowed(r)]


def every_pair(columns, allowed=lambda row: True):
    """All pairs of values that some allowed row has."""
    return set().union(*(pairs_of(row) for row in _rows(columns, allowed)))


def pairwise(columns, allowed=lambda row: True):
    """Rows (dicts) covering every allowed pair of values of `columns` (name -> values); the same each time."""
    every = [(row, pairs_of(row)) for row in _rows(columns, allowed)]
    still_open = set().union(*(pairs for _, pairs in every))
    rows = []
    while still_open:
        row, pairs = max(every, key=lambda r: len(r[1] & still_open))
        rows.append(row)
        still_open -= pairs
    return rows
