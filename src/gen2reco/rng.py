"""Random numbers as a pure function of what a row is, never of when or where it is computed.

Philox4x32-10 (Salmon et al., SC 2011) is a keyed permutation of 128-bit counters. The counter holds
the row and the key holds the purpose, so that chunk size, order of events, workers and restarts
cannot change a number:

    counter = event (64 bits) | hash32(run, luminosityBlock) | object (16 bits), replica (16 bits)
    key     = hash64(seed, part, stream, kind of number, block)

One call of the permutation gives four 32-bit words, a *block*: two standard normal numbers (52 bits
each) or four uniform ones (23 bits each). Blocks 0, 1, 2, ... of a row differ in their key, hence
are different permutations of the same counter; normal and uniform numbers have blocks of their own.
So lane j of either kind depends neither on the number of other lanes nor on the batch. Two purposes
share numbers only if their 64-bit keys collide, two events of equal number only if their
(run, luminosityBlock) collide in 32 bits.

All arithmetic is integer or plain IEEE double without libm, so the same bits come out on every
machine, whatever the width of its vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from gen2reco.errors import EventFileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_TILE = 512  # rows whose words stay in the first-level cache between the passes over them
_LARGEST_REPLICA = 2**16 - 1


@dataclass(frozen=True)
class Keys:
    """What identifies rows, one entry per row; converted to the stated types after a range check.

    Attributes:
        run: uint32 [n].
        luminosityBlock: uint32 [n].
        event: uint64 [n].
        object: uint16 [n], index of the object in its collection; 0 where rows are whole events.
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
        """Build keys from columns `run`, `luminosityBlock`, `event` and `object` (default: 0)."""
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
    """Return float32 [n, normal + uniform]: standard normal numbers, then uniform ones in (0, 1).

    Args:
        keys: the rows.
        seed: the user's seed, any integer.
        part: name of the part of p(RECO | GEN) that consumes the numbers.
        normal: standard normal numbers per row.
        uniform: uniform numbers per row.
        replica: which of several simulations of a row, 0 to 65535; one for all or one per row.
        stream: which of several uses within one part.

    Raises:
        ValueError: a replica outside its range.
    """
    replicas = np.broadcast_to(np.asarray(replica), (len(keys),))
    if len(keys) and not (replicas.min() >= 0 and replicas.max() <= _LARGEST_REPLICA):
        raise ValueError(f"replica must be between 0 and {_LARGEST_REPLICA}")
    last = keys.object.astype(np.uint32) | (replicas.astype(np.uint32) << np.uint32(16))
    out = np.empty((len(keys), normal + uniform), np.float32)
    if out.size:
        of_normal = [hash64(seed, part, stream, "normal", b) for b in range(-(-normal // 2))]
        of_uniform = [hash64(seed, part, stream, "uniform", b) for b in range(-(-uniform // 4))]
        ids = (keys.event, keys.run, keys.luminosityBlock, last)
        _fill(ids, np.array(of_normal, np.uint64), np.array(of_uniform, np.uint64), normal, out)
    return out


def hash_fraction(keys: Keys | Mapping[str, Any], salt: str | int) -> NDArray[np.float64]:
    """Return a float64 in [0, 1) per row that depends on the event, not on the object: for splits.

    Args:
        keys: the rows, or columns `run`, `luminosityBlock` and `event`.
        salt: name of the split; different salts give independent numbers.
    """
    rows = keys if isinstance(keys, Keys) else Keys.from_columns(keys)
    out = np.empty(len(rows), np.float64)
    _fractions(np.uint64(hash64(salt)), rows.run, rows.luminosityBlock, rows.event, out)
    return out


def hash64(*items: str | int) -> int:
    """Return 64 bits that depend on every item, its type and its place; the same for ever.

    FNV-1a over the items' bytes (a tag, eight bytes of length, then UTF-8 text or a two's
    complement integer), finished by the mixing step of splitmix64.
    """
    state = 0xCBF29CE484222325
    for item in items:
        if isinstance(item, str):
            tag, data = b"s", item.encode("utf-8")
        else:
            size = int(item).bit_length() // 8 + 1
            tag, data = b"i", int(item).to_bytes(size, "little", signed=True)
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
    if values.size and values.dtype.kind not in "iub":
        raise EventFileError(f"must be integers, not {values.dtype}", branch=name)
    if len(values) and not (int(values.min()) >= 0 and int(values.max()) <= np.iinfo(dtype).max):
        row = int(np.argmax((values < 0) | (values > np.iinfo(dtype).max)))
        raise EventFileError(
            f"{values[row]} does not fit {np.dtype(dtype).name}", branch=name, row=row
        )
    return np.ascontiguousarray(values.astype(dtype))


# Wichura, Applied Statistics 37 (1988) 477, algorithm AS 241: the inverse of the normal
# distribution function as ratios of polynomials in the middle (|p - 1/2| <= 0.425), in the tails,
# and beyond p = 1.4e-11.
_MIDDLE = (
    (2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987,
     13731.69376550946, 1971.5909503065513, 133.14166789178438, 3.3871328727963665),
    (5226.495278852546, 28729.085735721943, 39307.89580009271, 21213.794301586597,
     5394.196021424751, 687.1870074920579, 42.31333070160091, 1.0),
)  # fmt: skip
_TAIL = (
    (0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684,
     3.6478483247632045, 5.769497221460691, 4.630337846156546, 1.4234371107496835),
    (1.0507500716444169e-09, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008,
     0.6897673349851, 1.6763848301838038, 2.053191626637759, 1.0),
)  # fmt: skip
_FAR_TAIL = (
    (2.0103343992922881e-07, 2.7115555687434876e-05, 0.0012426609473880784, 0.026532189526576124,
     0.29656057182850487, 1.7848265399172913, 5.463784911164114, 6.657904643501103),
    (2.0442631033899397e-15, 1.421511758316446e-07, 1.8463183175100548e-05, 0.0007868691311456133,
     0.014875361290850615, 0.1369298809227358, 0.599832206555888, 1.0),
)  # fmt: skip
_ATANH = (1 / 19, 1 / 17, 1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0)


@njit(inline="always")
def _mix(state: Any) -> Any:
    """Mix the bits as splitmix64 does."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True)
def _fractions(salt: Any, run: Any, block: Any, event: Any, out: Any) -> None:
    for i in range(event.size):
        place = (np.uint64(run[i]) << np.uint64(32)) | np.uint64(block[i])
        bits = _mix(_mix(salt ^ place) ^ event[i])
        out[i] = np.float64(bits >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def _blocks(counter: Any, key: Any, words: Any) -> None:
    """Philox4x32-10 of counters under one 64-bit key; four columns of 32-bit words, as uint64."""
    in0, in1, in2, in3 = counter
    out0, out1, out2, out3 = words
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for i in range(out0.size):
        c0, c1, c2, c3 = in0[i], in1[i], in2[i], in3[i]
        k0, k1 = key & low, key >> half
        for _ in range(10):
            p0 = np.uint64(0xD2511F53) * c0
            p1 = np.uint64(0xCD9E8D57) * c2
            c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & low, (p0 >> half) ^ c3 ^ k1, p0 & low
            k0 = (k0 + np.uint64(0x9E3779B9)) & low
            k1 = (k1 + np.uint64(0xBB67AE85)) & low
        out0[i], out1[i], out2[i], out3[i] = c0, c1, c2, c3


@njit(inline="always")
def _ratio(x: Any, polynomials: Any) -> Any:
    top, bottom = polynomials
    above, below = top[0], bottom[0]
    for k in range(1, len(top)):
        above = above * x + top[k]
        below = below * x + bottom[k]
    return above / below


@njit(cache=True, nogil=True)
def _normals(high: Any, low: Any, bits: Any, z: Any) -> None:
    """Turn words (high, low) into standard normal z by the inverse distribution; bits is scratch.

    52 bits give p - 1/2 as an odd multiple of 2^-53, so the two tails mirror each other to the last
    bit and |z| <= 8.21. The loops are free of branches, hence vector code.
    """
    q = bits.view(np.float64)
    for i in range(z.size):
        word = (high[i] << np.uint64(32)) | low[i]
        bits[i] = np.uint64(0x3FF0000000000000) | (word >> np.uint64(12))  # a double in [1, 2)
    for i in range(z.size):
        q[i] = (q[i] - 1.5) + 2.0**-53
        z[i] = q[i] * _ratio(0.180625 - q[i] * q[i], _MIDDLE)
    index = np.empty(z.size, np.int64)
    count = 0
    for i in range(z.size):
        index[count] = i
        count += abs(q[i]) > 0.425
    tails = np.empty(count)
    for k in range(count):
        tails[k] = 0.5 - abs(q[index[k]])
    _tail(tails)
    for k in range(count):
        z[index[k]] = np.copysign(tails[k], q[index[k]])


@njit(cache=True, nogil=True)
def _tail(p: Any) -> None:
    """Replace tail probabilities 2^-53 <= p <= 0.075 by the z > 0 beyond which they lie."""
    bits = p.view(np.int64)
    exponent = np.empty(p.size)
    for i in range(p.size):  # p = 2^exponent m with sqrt(1/2) <= m < sqrt(2)
        shifted = (bits[i] - 0x3FE6A09E667F3BCD) >> 52
        bits[i] -= shifted << 52
        exponent[i] = np.float64(np.int32(shifted))
    for i in range(p.size):
        s = (p[i] - 1.0) / (p[i] + 1.0)
        series = _ATANH[0]
        for k in range(1, len(_ATANH)):
            series = series * (s * s) + _ATANH[k]
        r = np.sqrt(-(exponent[i] * 0.6931471805599453 + 2.0 * s * series))
        exponent[i] = r
        p[i] = _ratio(r - 1.6, _TAIL)
    for i in range(p.size):
        if exponent[i] > 5.0:
            p[i] = _ratio(exponent[i] - 5.0, _FAR_TAIL)


@njit(cache=True, nogil=True)
def _fill(ids: Any, of_normal: Any, of_uniform: Any, normal: Any, out: Any) -> None:
    """Fill out [n, normal + uniform] tile by tile; one Philox key per block of either kind."""
    event, run, section, last = ids
    c0, c1 = np.empty(_TILE, np.uint64), np.empty(_TILE, np.uint64)
    c2, c3 = np.empty(_TILE, np.uint64), np.empty(_TILE, np.uint64)
    w0, w1 = np.empty(_TILE, np.uint64), np.empty(_TILE, np.uint64)
    w2, w3 = np.empty(_TILE, np.uint64), np.empty(_TILE, np.uint64)
    bits, z = np.empty(_TILE, np.uint64), np.empty(_TILE, np.float64)
    for start in range(0, event.size, _TILE):
        n = min(_TILE, event.size - start)
        for i in range(n):
            row = start + i
            c0[i] = event[row] & np.uint64(0xFFFFFFFF)
            c1[i] = event[row] >> np.uint64(32)
            place = (np.uint64(run[row]) << np.uint64(32)) | np.uint64(section[row])
            c2[i] = _mix(place) >> np.uint64(32)
            c3[i] = np.uint64(last[row])
        counter = (c0[:n], c1[:n], c2[:n], c3[:n])
        words = (w0[:n], w1[:n], w2[:n], w3[:n])
        for b in range(of_normal.size):
            _blocks(counter, of_normal[b], words)
            for half in range(min(2, normal - 2 * b)):
                _normals(words[2 * half], words[2 * half + 1], bits[:n], z[:n])
                for i in range(n):
                    out[start + i, 2 * b + half] = z[i]
        for b in range(of_uniform.size):
            _blocks(counter, of_uniform[b], words)
            for quarter in range(min(4, out.shape[1] - normal - 4 * b)):
                word = words[quarter]
                for i in range(n):
                    number = (np.int32(word[i] >> np.uint64(9)) + 0.5) * 2.0**-23
                    out[start + i, normal + 4 * b + quarter] = number
