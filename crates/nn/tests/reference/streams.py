"""Recomputes the numbers that the test `streams_are_frozen` in src/rng.rs pins, with its own ChaCha8.

Plain Python: python3 streams.py
"""
import math
import struct


def rotate(x, n):
    return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xFFFFFFFF
        s[z] = rotate(s[z] ^ s[x], n)


def words(seed, stream):
    """The 32-bit output words of ChaCha8 with a 64-bit block counter and a 64-bit nonce (the stream)."""
    counter = 0
    while True:
        start = list(struct.unpack("<4I", b"expand 32-byte k")) + list(struct.unpack("<8I", seed))
        start += list(struct.unpack("<4I", struct.pack("<QQ", counter, stream)))
        s = start[:]
        for _ in range(4):
            for column in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
                quarter(s, *column)
            for diagonal in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                quarter(s, *diagonal)
        yield from ((x + y) & 0xFFFFFFFF for x, y in zip(s, start))
        counter += 1


def uniform(w):
    low, high = next(w), next(w)
    return (((high << 32) | low) >> 11) / 2**53


def normal(w):
    while True:
        u, v = 2 * uniform(w) - 1, 2 * uniform(w) - 1
        s = u * u + v * v
        if 0 < s < 1:
            return u * math.sqrt(-2 * math.log(s) / s)


def below(w, bound):
    while True:
        product = next(w) * bound
        if product & 0xFFFFFFFF >= 2**32 % bound:
            return product >> 32


w = words(struct.pack("<Q", 7) + bytes(24), (2 << 48) | 3)
print(uniform(w), normal(w), below(w, 1000))
order = list(range(8))
for last in range(7, 0, -1):
    other = below(w, last + 1)
    order[last], order[other] = order[other], order[last]
print(order)
