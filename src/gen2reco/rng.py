"""Random numbers as a pure function of what a row is, never of when or where it is computed.

Philox4x32-10 (Salmon et al., SC 2011) is a keyed permutation of 128-bit counters. The counter holds the row and
the key holds the purpose, so that chunk size, order of events, workers and restarts cannot change a number:

    counter = event (64 bits) | hash32(run, luminosityBlock) | object (16 bits), replica (16 bits)
    key     = hash64(seed, part, stream, lane kind, block)

One call of the permutation gives four 32-bit words, a *block*: two standard normal numbers (52 bits each) or four
uniform ones (23 bits each). Blocks 0, 1, 2, ... of a row differ in their key, hence are different permutations of the
same counter; normal and uniform numbers have blocks of their own. So lane j of either kind depends neither on the
number of other lanes nor on the batch. Two purposes share numbers only if their 64-bit keys collide, two events
of equal number only if their (run, luminosityBlock) collide in 32 bits.

All arithmetic is integer or plain IEEE double without libm, so the same bits come out on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gen2reco.errors import EventFileError

_MASK = (1 << 64) - 1
_TILE = 512  # rows whose words stay in the first-level cache between the passes over them
_LARGEST_REPLICA = 2**16 - 1


@dataclass(frozen=True)
class Keys:
    """What identifies rows: one entry per row in each column; converted to the stated types, range checked.

    Attributes:
        run: uint32 [n].
        luminosityBlock: uint32 [n].
        event: uint64 [n].
        object: uint16 [n], index of the object within its collection; 0 for rows that are whole events.
    """

    run: NDArray[np.uint32]
    luminosityBlock: NDArray[np.uint32]  # noqa: N815 - the column's name in NanoAOD
    event: NDArray[np.uint64]
    object: NDArray[np.uint16]

    def __post_init__(self) -> None:
        for name, dtype in _KEY_TYPES.items():
            object.__setattr__(self, name, _as_unsigned(name, getattr(self, name), dtype))
        lengths = {name: len(getattr(self, name)) for name in _KEY_TYPES}
        if len(set(lengths.values())) > 1:
            raise EventFileError(f"the columns that identify events differ in length: {lengths}")

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> Keys:
        """Build keys from columns `run`, `luminosityBlock`, `event` and, where present, `object` (else 0)."""
        event = np.asarray(columns["event"])
        number = columns.get("object", np.zeros(len(event), np.uint16))
        return cls(columns["run"], columns["luminosityBlock"], event, number)

    def __len__(self) -> int:
        return len(self.event)

    def take(self, index: Any) -> Keys:
        """Return the rows that an index array, boolean mask or slice selects."""
        return Keys(*(getattr(self, field.name)[index] for field in fields(self)))

    @staticmethod
    def concatenate(parts: Sequence[Keys]) -> Keys:
        """Join keys one after the other; no parts give no rows."""
        if not parts:
            return Keys(*(np.zeros(0, dtype) for dtype in _KEY_TYPES.values()))
        return Keys(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in _KEY_TYPES)
        )


_KEY_TYPES: dict[str, Any] = {
    "run": np.uint32,
    "luminosityBlock": np.uint32,
    "event": np.uint64,
    "object": np.uint16,
}


def noise(
    keys: Keys,
    *,
    seed: int,
    part: str,
    normal: int,
    uniform: int = 0,
    replica: int | NDArray[Any] = 0,
    stream: int = 0,
) -> NDArray[np.float32]:
    """Return float32 [n, normal + uniform]: standard normal numbers, then uniform ones strictly inside (0, 1).

    Args:
        keys: the rows.
        seed: the user's seed, any integer.
        part: name of the part of p(RECO | GEN) that consumes the numbers.
        normal: standard normal numbers per row.
        uniform: uniform numbers per row.
        replica: which of several simulations of the same row, 0 to 65535; one for all rows or one per row.
        stream: which of several uses within one part.

    Raises:
        ValueError: a replica outside its range.
    """
    replicas = np.broadcast_to(np.asarray(replica), (len(keys),))
    if len(keys) and not (0 <= replicas.min() and replicas.max() <= _LARGEST_REPLICA):
        raise ValueError(f"replica must be between 0 and {_LARGEST_REPLICA}")
    last = keys.object.astype(np.uint32) | (replicas.astype(np.uint32) << np.uint32(16))
    out = np.empty((len(keys), normal + uniform), np.float32)
    if out.size:
        of_normal = [
            hash64(seed, part, stream, "normal", block) for block in range(-(-normal // 2))
        ]
        of_uniform = [
            hash64(seed, part, stream, "uniform", block) for block in range(-(-uniform // 4))
        ]
        _fill(
            *(keys.event, keys.run, keys.luminosityBlock, last),
            *(np.array(of_normal, np.uint64), np.array(of_uniform, np.uint64)),
            *(normal, out),
        )
    return out


def hash_fraction(keys: Keys | Mapping[str, Any], salt: str | int) -> NDArray[np.float64]:
    """Return a number in [0, 1) per row that depends on the event alone, not on the object: for splits by event.

    Args:
        keys: the rows, or columns `run`, `luminosityBlock` and `event`.
        salt: name of the split; different salts give independent numbers.
    """
    rows = keys if isinstance(keys, Keys) else Keys.from_columns(keys)
    out = np.empty(len(rows), np.float64)
    _fractions(np.uint64(hash64(salt)), rows.run, rows.luminosityBlock, rows.event, out)
    return out


def hash64(*items: str | int) -> int:
    """Return 64 bits that depend on every item, its type and its place; the same in every version for ever.

    FNV-1a over the items' bytes (a tag, eight bytes of length, then UTF-8 text or a two's complement integer),
    finished by the mixing step of splitmix64.
    """
    state = 0xCBF29CE484222325
    for item in items:
        if isinstance(item, str):
            tag, data = b"s", item.encode("utf-8")
        else:
            tag, data = (
                b"i",
                int(item).to_bytes(int(item).bit_length() // 8 + 1, "little", signed=True),
            )
        for byte in tag + len(data).to_bytes(8, "little") + data:
            state = ((state ^ byte) * 0x100000001B3) & _MASK
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def _as_unsigned(name: str, column: Any, dtype: Any) -> NDArray[Any]:
    values = np.asarray(column)
    if values.dtype == dtype:
        return np.ascontiguousarray(values)
    if values.dtype.kind not in "iub":
        raise EventFileError(f"must be integers, not {values.dtype}", branch=name)
    if len(values) and not (int(values.min()) >= 0 and int(values.max()) <= np.iinfo(dtype).max):
        row = int(np.argmax((values < 0) | (values > np.iinfo(dtype).max)))
        raise EventFileError(
            f"{values[row]} does not fit {np.dtype(dtype).name}", branch=name, row=row
        )
    return np.ascontiguousarray(values.astype(dtype))


@njit(inline="always")  # type: ignore[untyped-decorator]
def _mix(state: Any) -> Any:
    """The mixing step of splitmix64."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fractions(salt: Any, run: Any, block: Any, event: Any, out: Any) -> None:
    for i in range(event.size):
        place = (np.uint64(run[i]) << np.uint64(32)) | np.uint64(block[i])
        bits = _mix(_mix(salt ^ place) ^ event[i])
        out[i] = np.float64(bits >> np.uint64(11)) * 2.0**-53


@njit(inline="always")  # type: ignore[untyped-decorator]
def _philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Philox4x32-10 on 32-bit words held in uint64, which lets the compiler use vector products."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & low, (p0 >> half) ^ c3 ^ k1, p0 & low
        k0 = (k0 + np.uint64(0x9E3779B9)) & low
        k1 = (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _blocks(counter: Any, key: Any, words: Any) -> None:
    """Philox blocks `words` [4, n] of the counters [4, n] under one 64-bit key; all uint64."""
    k0 = key & np.uint64(0xFFFFFFFF)
    k1 = key >> np.uint64(32)
    for i in range(counter.shape[1]):
        w0, w1, w2, w3 = _philox(counter[0, i], counter[1, i], counter[2, i], counter[3, i], k0, k1)
        words[0, i] = w0
        words[1, i] = w1
        words[2, i] = w2
        words[3, i] = w3


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _normals(high: Any, low: Any, q: Any, z: Any) -> None:
    """Standard normal numbers z of words (high, low) by the inverse normal distribution function.

    Rational approximations of Wichura, Applied Statistics 37 (1988) 477 (AS 241, accurate to 1e-16), with a
    logarithm of our own; q is scratch. The two tails are mirror images to the last bit.
    """
    for i in range(z.size):
        bits = ((high[i] << np.uint64(32)) | low[i]) >> np.uint64(12)
        c = (np.float64(np.int64(bits)) + 0.5) * 2.0**-52 - 0.5
        q[i] = c
        r = 0.180625 - c * c
        top = r * 2509.0809287301226727 + 33430.575583588128105
        top = top * r + 67265.770927008700853
        top = top * r + 45921.953931549871457
        top = top * r + 13731.693765509461125
        top = top * r + 1971.5909503065514427
        top = top * r + 133.14166789178437745
        top = top * r + 3.387132872796366608
        bottom = r * 5226.495278852545925 + 28729.085735721942674
        bottom = bottom * r + 39307.89580009271061
        bottom = bottom * r + 21213.794301586595867
        bottom = bottom * r + 5394.1960214247511077
        bottom = bottom * r + 687.1870074920579083
        bottom = bottom * r + 42.313330701600911252
        bottom = bottom * r + 1.0
        z[i] = c * top / bottom
    for i in range(z.size):
        if abs(q[i]) > 0.425:
            z[i] = np.copysign(_tail(0.5 - abs(q[i])), q[i])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _tail(p: Any) -> Any:
    """Positive z beyond which a standard normal number lies with probability p <= 0.075."""
    r = np.sqrt(-_log(p))
    if r <= 5.0:
        r = r - 1.6
        top = r * 7.7454501427834140764e-4 + 0.0227238449892691845833
        top = top * r + 0.24178072517745061177
        top = top * r + 1.27045825245236838258
        top = top * r + 3.64784832476320460504
        top = top * r + 5.7694972214606914055
        top = top * r + 4.6303378461565452959
        top = top * r + 1.42343711074968357734
        bottom = r * 1.05075007164441684324e-9 + 5.475938084995344946e-4
        bottom = bottom * r + 0.0151986665636164571966
        bottom = bottom * r + 0.14810397642748007459
        bottom = bottom * r + 0.68976733498510000455
        bottom = bottom * r + 1.6763848301838038494
        bottom = bottom * r + 2.05319162663775882187
        return top / (bottom * r + 1.0)
    r = r - 5.0
    top = r * 2.01033439929228813265e-7 + 2.71155556874348757815e-5
    top = top * r + 0.0012426609473880784386
    top = top * r + 0.026532189526576123093
    top = top * r + 0.29656057182850489123
    top = top * r + 1.7848265399172913358
    top = top * r + 5.4637849111641143699
    top = top * r + 6.6579046435011037772
    bottom = r * 2.04426310338993978564e-15 + 1.4215117583164458887e-7
    bottom = bottom * r + 1.8463183175100546818e-5
    bottom = bottom * r + 7.868691311456132591e-4
    bottom = bottom * r + 0.0148753612908506148525
    bottom = bottom * r + 0.13692988092273580531
    bottom = bottom * r + 0.59983220655588793769
    return top / (bottom * r + 1.0)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _log(p: Any) -> Any:
    """Natural logarithm of 0 < p < 1 by halving and the series of the area hyperbolic tangent."""
    exponent = 0.0
    while p < 2.0**-16:
        p = p * 2.0**16
        exponent -= 16.0
    while p < 0.7071067811865476:
        p = p * 2.0
        exponent -= 1.0
    s = (p - 1.0) / (p + 1.0)
    x = s * s
    series = x / 19.0 + 1.0 / 17.0
    series = series * x + 1.0 / 15.0
    series = series * x + 1.0 / 13.0
    series = series * x + 1.0 / 11.0
    series = series * x + 1.0 / 9.0
    series = series * x + 1.0 / 7.0
    series = series * x + 1.0 / 5.0
    series = series * x + 1.0 / 3.0
    series = series * x + 1.0
    return exponent * 0.6931471805599453 + 2.0 * s * series


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(
    event: Any,
    run: Any,
    block: Any,
    last: Any,
    of_normal: Any,
    of_uniform: Any,
    normal: Any,
    out: Any,
) -> None:
    counter = np.empty((4, _TILE), np.uint64)
    words = np.empty((4, _TILE), np.uint64)
    scratch = np.empty(_TILE, np.float64)
    z = np.empty(_TILE, np.float64)
    for start in range(0, event.size, _TILE):
        n = min(_TILE, event.size - start)
        for i in range(n):
            counter[0, i] = event[start + i] & np.uint64(0xFFFFFFFF)
            counter[1, i] = event[start + i] >> np.uint64(32)
            place = (np.uint64(run[start + i]) << np.uint64(32)) | np.uint64(block[start + i])
            counter[2, i] = _mix(place) >> np.uint64(32)
            counter[3, i] = np.uint64(last[start + i])
        for b in range(of_normal.size):
            _blocks(counter[:, :n], of_normal[b], words[:, :n])
            for lane in range(2 * b, min(2 * b + 2, normal)):
                pair = 2 * (lane - 2 * b)
                _normals(words[pair, :n], words[pair + 1, :n], scratch[:n], z[:n])
                for i in range(n):
                    out[start + i, lane] = np.float32(z[i])
        for b in range(of_uniform.size):
            _blocks(counter[:, :n], of_uniform[b], words[:, :n])
            for lane in range(4 * b, min(4 * b + 4, out.shape[1] - normal)):
                for i in range(n):
                    bits = np.int64(words[lane - 4 * b, i] >> np.uint64(9))
                    out[start + i, normal + lane] = np.float32((np.float64(bits) + 0.5) * 2.0**-23)
