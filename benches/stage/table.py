"""Rounds of measurements in turn, and the table of their ratios."""

import statistics
import sys
import time

from lab.shell import Failed

from .measure import note_of

# A share of stolen processor time above which a number is marked and its measurement repeated once.
STOLEN = 0.03


class Group:
    """One kind of measurement over several contenders, in turn, for some rounds."""

    def __init__(self, name, unit, contenders, work):
        self.name, self.unit, self.contenders, self.work = name, unit, contenders, work
        self.samples = {contender.name: [] for contender in contenders}

    def run(self, rounds):
        for number in range(rounds):
            # Each round begins with another one, so that none always follows the same neighbour.
            turn = number % len(self.contenders)
            for contender in self.contenders[turn:] + self.contenders[:turn]:
                sample = self._measure(contender)
                self.samples[contender.name].append((number, sample))
                mark = "*" if sample.stolen > STOLEN else ""
                print(f"    {self.name}, round {number + 1}, {contender.name}: {sample.value:.4g} {self.unit}{mark}"
                      f"{'  ' + sample.note() if sample.beside else ''}", file=sys.stderr, flush=True)
        return self

    def _measure(self, contender):
        try:
            sample = self.work(contender)
        except Failed as error:
            # A load generator that stumbled once; twice is a failure of the path.
            print(f"    again: {error}", file=sys.stderr, flush=True)
            time.sleep(1)
            return self.work(contender)
        if sample.stolen > STOLEN:
            again = self.work(contender)
            sample = again if again.stolen < sample.stolen else sample
        time.sleep(0.1)
        return sample

    def median(self, name):
        return statistics.median(s.value for _, s in self.samples[name])

    def spread(self, name):
        values = [s.value for _, s in self.samples[name]]
        return min(values), max(values)

    def ratio(self, name, against):
        """The median of the rounds' ratios; None where one was not measured or gave nothing."""
        if name not in self.samples or against not in self.samples:
            return None
        below = dict((n, s.value) for n, s in self.samples[against])
        ratios = [s.value / below[n] for n, s in self.samples[name] if below.get(n)]
        return statistics.median(ratios) if ratios else None

    def stolen(self, name):
        return max(s.stolen for _, s in self.samples[name])

    def cpu(self, name):
        values = [s.cpu for _, s in self.samples[name] if s.cpu is not None]
        return statistics.median(values) if values else None

    def notes(self, name):
        return note_of([s for _, s in self.samples[name]])


def _times(value):
    return "" if value is None else f"{value:.2f}"


def lines(groups, subjects, against):
    """The table: a line a figure and contender; `against` maps a title to the names it may have in a group."""
    head = ["figure", "what", "median", "lowest-highest", *against, "CPU s/GB", "steal", "rounds"]
    rows = [head, ["---"] * len(head)]
    for group in groups:
        for contender in group.contenders:
            name = contender.name
            if name not in subjects:
                continue
            low, high = group.spread(name)
            stolen, cpu = group.stolen(name), group.cpu(name)
            cells = []
            for titles in against.values():
                other = next((t for t in titles.get(name, titles[""]) if t in group.samples), None)
                cells.append("" if other in (None, name) else _times(group.ratio(name, other)))
            rows.append([
                group.name, subjects[name] + (f" ({group.notes(name)})" if group.notes(name) else ""),
                f"{group.median(name):.4g} {group.unit}", f"{low:.4g}-{high:.4g}", *cells,
                "" if cpu is None else f"{cpu:.2f}", f"{stolen * 100:.1f} %{' *' if stolen > STOLEN else ''}",
                str(len(group.samples[name])),
            ])
    return plain(rows)


def plain(rows):
    """Rows as aligned lines."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
