"""Pairwise selection: few rows in which every pair of values of two columns appears."""

from itertools import combinations, product


def pairwise(columns, allowed=lambda row: True):
    """Rows (dicts) covering every allowed pair of values of `columns` (name -> values)."""
    names = list(columns)
    every = [r for r in (dict(zip(names, values)) for values in product(*columns.values())) if allowed(r)]
    pairs_of = [frozenset(((a, r[a]), (b, r[b])) for a, b in combinations(names, 2)) for r in every]
    open_pairs = set().union(*pairs_of) if pairs_of else set()
    rows = []
    while open_pairs:
        best = max(range(len(every)), key=lambda n: len(pairs_of[n] & open_pairs))
        rows.append(every[best])
        open_pairs -= pairs_of[best]
    return rows


def each_once(columns, allowed=lambda row: True):
    """Few rows in which every value of every column appears at least once."""
    names, rows = list(columns), []
    for n in range(max(len(v) for v in columns.values())):
        row = {name: columns[name][n % len(columns[name])] for name in names}
        if allowed(row):
            rows.append(row)
    return rows
