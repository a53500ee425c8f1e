"""The k largest of a row by bisection: a threshold is halved in until exactly k numbers reach it, counting in lanes.

A number's key is an integer that grows with it. Equal numbers have equal keys: -0 is 0, and a NaN is infinite.
"""

import numpy as np
from numba import prange

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds
from scratchnn_kernels.vector_bits import Number, compiled, ordered, plus_one_if, threaded, wide

FEW = 256  # numbers that are ranked faster than merged


@compiled
def _fill_keys(x: Array, keys: Array) -> None:
    wide()
    zero, infinite = x.dtype.type(0), x.dtype.type(np.inf)
    for i in range(x.size):
        # x + 0 makes 0 of -0
        keys[i] = ordered(infinite if x[i] != x[i] else x[i] + zero)


@compiled
def _reaching(keys: Array, threshold: Number) -> Number:
    """How many keys are at least the threshold."""
    wide()
    count = np.int32(0)
    for i in range(keys.size):
        count = plus_one_if(count, keys[i] >= threshold)
    return count


@compiled
def _range(keys: Array) -> tuple[Number, Number]:
    wide()
    low, high = keys[0], keys[0]
    for i in range(keys.size):
        low, high = min(low, keys[i]), max(high, keys[i])
    return low, high


@compiled
def _threshold(keys: Array, k: int) -> tuple[Number, int]:
    """The largest threshold that k keys or more reach, or any that exactly k reach; and how many do."""
    low, high = _range(keys)
    count = keys.size
    while count != k and low < high:
        # the upper middle; the sum could overflow
        middle = keys.dtype.type((low | high) - ((low ^ high) >> 1))
        reaching = _reaching(keys, middle)
        if reaching >= k:
            low, count = middle, reaching
        else:
            high = keys.dtype.type(middle - 1)
    return low, count


@compiled
def _keep(x: Array, keys: Array, threshold: Number, y: Array, mask: Array) -> None:
    """The numbers whose keys reach the threshold, and ones there."""
    wide()
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        reaches = keys[i] >= threshold
        y[i] = x[i] if reaches else zero
        mask[i] = one if reaches else zero


@compiled
def sparse_rows(x: Array, k: int, y: Array, mask: Array, keys: Array, first: int, last: int) -> None:
    """The k largest of the rows first to last and ones there, zeros elsewhere; keys is room for one row."""
    for n in range(first, last):
        _fill_keys(x[n], keys)
        threshold, count = _threshold(keys, k)
        _keep(x[n], keys, threshold, y[n], mask[n])
        i = keys.size
        while count > k:  # of equal numbers the lower index comes first: take the last ones out
            i -= 1
            if keys[i] == threshold:
                y[n, i] = mask[n, i] = 0
                count -= 1


@compiled
def topk_rows(x: Array, k: int, values: Array, indices: Array, keys: Array, first: int, last: int) -> None:
    """The k largest numbers of the rows first to last, and where they stand, the largest first."""
    places, best, room = np.empty(keys.size + 1, np.int64), np.empty(k, keys.dtype), np.empty((2, k), np.int64)
    for n in range(first, last):
        _fill_keys(x[n], keys)
        threshold, count = _threshold(keys, k)
        found = 0
        for i in range(keys.size):  # without a branch: a place that does not count is written over
            places[found] = i
            found += keys[i] >= threshold
        _drop(places, keys, threshold, count, k)
        for i in range(k):
            best[i] = keys[places[i]]
        order = room[0]
        if k <= FEW:
            _rank(best, order)
        else:
            _sort(best, room)
        for i in range(k):
            place = places[order[i]]
            indices[n, i], values[n, i] = place, x[n, place]


@compiled
def _drop(places: Array, keys: Array, threshold: Number, count: int, k: int) -> None:
    """Keep k of count places: of those on the threshold the last ones go."""
    surplus, end = count - k, count
    for i in range(count - 1, -1, -1):
        if surplus == 0:
            return
        if keys[places[i]] == threshold:
            for j in range(i, end - 1):
                places[j] = places[j + 1]
            end -= 1
            surplus -= 1


@compiled
def _rank(keys: Array, order: Array) -> None:
    """order[r] = where the r-th largest key stands; it is r-th because r keys come before it, counted in lanes."""
    for i in range(keys.size):
        key, before, after = keys[i], keys[:i], keys[i + 1 :]
        rank = np.int32(0)
        for j in range(before.size):
            rank = plus_one_if(rank, before[j] >= key)
        for j in range(after.size):
            rank = plus_one_if(rank, after[j] > key)
        order[rank] = i


@compiled
def _sort(keys: Array, room: Array) -> None:
    """The same for many keys into room[0], merging ever longer runs; equal keys stay in order."""
    source, target = room[0], room[1]
    for i in range(keys.size):
        source[i] = i
    width, size = 1, keys.size
    while width < size:
        for start in range(0, size, 2 * width):
            i, middle = start, min(start + width, size)
            j, end = middle, min(start + 2 * width, size)
            for at in range(start, end):
                if j == end or (i < middle and keys[source[i]] >= keys[source[j]]):
                    target[at] = source[i]
                    i += 1
                else:
                    target[at] = source[j]
                    j += 1
        source, target = target, source
        width *= 2
    room[0][:] = source


@threaded
def sparse_rows_threaded(x: Array, k: int, y: Array, mask: Array, keys: Array, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, len(x))
        sparse_rows(x, k, y, mask, keys[part], first, last)


@threaded
def topk_rows_threaded(x: Array, k: int, values: Array, indices: Array, keys: Array, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, len(x))
        topk_rows(x, k, values, indices, keys[part], first, last)
