"""Hypervolume of a growing set of points in two or three objectives, all losses."""

import bisect


class Front:
    """The non-dominated points seen so far and the volume they dominate up to `reference`."""

    def __init__(self, reference):
        if len(reference) not in (2, 3):
            raise ValueError(f"hypervolume is for two or three objectives, not {len(reference)}")
        self.reference, self.points, self.volume = reference, [], 0.0

    def add(self, losses):
        """The volume with this point."""
        if any(loss >= bound or loss != loss for loss, bound in zip(losses, self.reference)):
            return self.volume
        if any(dominates(point, losses) for point in self.points):
            return self.volume
        self.points = [point for point in self.points if not dominates(losses, point)] + [tuple(losses)]
        self.volume = volume(self.points, self.reference)
        return self.volume


def dominates(a, b):
    """Whether `a` is nowhere worse than `b` (equal points dominate each other: one of them is enough)."""
    return all(x <= y for x, y in zip(a, b))


def volume(points, reference):
    """Of points that are all better than `reference` in every objective."""
    if len(reference) == 2:
        return area(sorted(points), reference)
    # Slices along the last objective: between two heights the area of all points that are below the lower one.
    by_height = sorted(points, key=lambda point: point[2])
    total, below = 0.0, []
    for i, point in enumerate(by_height):
        bisect.insort(below, point[:2])
        top = by_height[i + 1][2] if i + 1 < len(by_height) else reference[2]
        if top > point[2]:
            total += area(below, reference) * (top - point[2])
    return total


def area(points, reference):
    """Dominated by points sorted by the first objective; dominated ones among them add nothing."""
    total, lowest = 0.0, reference[1]
    for x, y, *_ in points:
        if y < lowest:
            total += (reference[0] - x) * (lowest - y)
            lowest = y
    return total
