"""Arithmetic on many columns at once, written as plain formulas, compiled for this processor.

The spline of a flow is hundreds of cheap operations per number, so its speed is decided by how
they are laid out: the parameters of one feature stand in rows, the events in columns, and `Lanes`
holds one number for each of `LANES` neighbouring columns in a vector register. A `Kernel` is built
by running plain Python over `Lanes` once: loops over bins unroll, loops over rows and columns
become machine loops, and LLVM compiles what was recorded. That takes about 0.2 seconds and needs no
compiler on the machine.

Every column sees the same instructions in the same order: multiply-adds are fused where the
formula says so and nowhere else, and no sum runs across lanes. A column's result is therefore
bit-identical wherever it stands. The price is that the number of columns must be a multiple of
`LANES`: callers pad.
"""

from __future__ import annotations

import ctypes
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from llvmlite import binding, ir  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

LANES = 16
"""Columns per vector: what an AVX-512 register holds; narrower processors take two or four."""

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR, _BITS = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)

# Polynomials of least relative error in float32: 2^r for |r| <= 1/2, and (log(1 + z) - z + z^2/2) /
# z^3.
_EXP2 = (
    0.0013276472454890609, 0.009675541892647743, 0.05550713092088699,
    0.24022120237350464, 0.6931469440460205, 1.0000001192092896,
)  # fmt: skip
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip


def supported() -> bool:
    """Whether this processor fuses multiply and add, without which the kernels would crawl."""
    features = binding.get_host_cpu_features()
    return bool(features.get("fma")) or "aarch64" in binding.get_process_triple()


class Lanes:
    """One float32 per column; arithmetic and comparisons act column by column."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    def of(self, other: Any) -> ir.Value:
        """Return the machine value of a `Lanes` or a plain number."""
        return (
            other.value
            if isinstance(other, Lanes)
            else ir.Constant(_VECTOR, [float(other)] * LANES)
        )

    def _make(self, value: ir.Value) -> Lanes:
        return Lanes(self.builder, value)

    def __add__(self, other: Any) -> Lanes:
        return self._make(self.builder.fadd(self.value, self.of(other)))

    def __sub__(self, other: Any) -> Lanes:
        return self._make(self.builder.fsub(self.value, self.of(other)))

    def __rsub__(self, other: Any) -> Lanes:
        return self._make(self.builder.fsub(self.of(other), self.value))

    def __mul__(self, other: Any) -> Lanes:
        return self._make(self.builder.fmul(self.value, self.of(other)))

    def __truediv__(self, other: Any) -> Lanes:
        return self._make(self.builder.fdiv(self.value, self.of(other)))

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._make(self.builder.fdiv(self.of(other), self.value))

    __radd__, __rmul__ = __add__, __mul__

    def __ge__(self, other: Any) -> Lanes:
        return self._make(self.builder.fcmp_ordered(">=", self.value, self.of(other)))

    def __gt__(self, other: Any) -> Lanes:
        return self._make(self.builder.fcmp_ordered(">", self.value, self.of(other)))

    def __lt__(self, other: Any) -> Lanes:
        return self._make(self.builder.fcmp_ordered("<", self.value, self.of(other)))


def where(condition: Lanes, yes: Any, no: Any) -> Lanes:
    """Return `yes` where the comparison holds and `no` elsewhere."""
    select = condition.builder.select(condition.value, condition.of(yes), condition.of(no))
    return Lanes(condition.builder, select)


def fma(a: Lanes, b: Any, c: Any) -> Lanes:
    """Return a * b + c, rounded once."""
    return _intrinsic("fma", a, b, c)


def sqrt(x: Lanes) -> Lanes:
    """Return the square root."""
    return _intrinsic("sqrt", x)


def absolute(x: Lanes) -> Lanes:
    """Return |x|."""
    return _intrinsic("fabs", x)


def clamp(x: Lanes, low: float, high: float) -> Lanes:
    """Return x moved into [low, high]; NaN stays NaN, so that a broken network is not hidden."""
    x = where(x > high, high, x)
    return where(x < low, low, x)


def exp2(x: Lanes) -> Lanes:
    """Return 2^x for |x| <= 126, to 2e-7."""
    build = x.builder
    # Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    shifted = x + 12582912.0
    rest = x - (shifted - 12582912.0)
    power = _polynomial(_EXP2, rest)
    exponent = build.shl(build.bitcast(shifted.value, _BITS), ir.Constant(_BITS, [23] * LANES))
    return Lanes(
        build, build.bitcast(build.add(build.bitcast(power.value, _BITS), exponent), _VECTOR)
    )


def log(x: Lanes) -> Lanes:
    """Return the natural logarithm of positive normal numbers, to 2e-7 relative or absolute."""
    build = x.builder

    def integer(value: int) -> ir.Constant:
        return ir.Constant(_BITS, [value] * LANES)

    # x = 2^e (1 + z) with 1 + z between sqrt(1/2), whose bits are 0x3f3504f3, and sqrt(2).
    bits = build.sub(build.bitcast(x.value, _BITS), integer(0x3F3504F3))
    exponent = Lanes(build, build.sitofp(build.ashr(bits, integer(23)), _VECTOR))
    mantissa = build.add(build.and_(bits, integer(0x007FFFFF)), integer(0x3F3504F3))
    z = Lanes(build, build.bitcast(mantissa, _VECTOR)) - 1.0
    square = z * z
    series = _polynomial(_LOG, z) * (square * z)
    result = fma(square, -0.5, fma(exponent, -2.12194440e-4, series)) + z
    result = fma(exponent, 0.693359375, result)
    return where(x < float("inf"), result, x)


def uniform(builder: ir.IRBuilder, seed: ir.Value, position: ir.Value) -> Lanes:
    """Return numbers uniform on [0, 1), a function of a seed and of each column's position alone.

    Two rounds of multiply and shift mix them: good enough to leave out numbers at random, and so
    cheap that they are made again where they are needed again.
    """

    def constant(value: int) -> ir.Constant:
        return ir.Constant(_BITS, [value] * LANES)

    def spread(number: ir.Value) -> ir.Value:
        empty = ir.Constant(_BITS, ir.Undefined)
        first = builder.insert_element(empty, builder.trunc(number, _I32), _I32(0))
        return builder.shuffle_vector(first, empty, constant(0))

    bits = builder.add(spread(position), ir.Constant(_BITS, list(range(LANES))))
    bits = builder.xor(builder.mul(bits, constant(0x9E3779B1)), spread(seed))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = builder.mul(builder.xor(bits, builder.lshr(bits, constant(shift))), constant(factor))
    bits = builder.xor(bits, builder.lshr(bits, constant(16)))
    # The upper bits as the mantissa of a number on [1, 2).
    mantissa = builder.or_(builder.lshr(bits, constant(9)), constant(0x3F800000))
    return Lanes(builder, builder.bitcast(mantissa, _VECTOR)) - 1.0


def _polynomial(coefficients: Sequence[float], x: Lanes) -> Lanes:
    total = fma(x, coefficients[0], coefficients[1])
    for coefficient in coefficients[2:]:
        total = fma(total, x, coefficient)
    return total


def _intrinsic(name: str, *arguments: Any) -> Lanes:
    first = arguments[0]
    full = f"llvm.{name}.v{LANES}f32"
    module = first.builder.module
    function = module.globals.get(full)
    if function is None:
        function = ir.Function(module, ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments)), full)
    return Lanes(first.builder, first.builder.call(function, [first.of(a) for a in arguments]))


class Rows:
    """An array in memory as a kernel sees it: rows that begin `stride` numbers apart."""

    def __init__(self, builder: ir.IRBuilder, pointer: ir.Value, stride: ir.Value) -> None:
        self.builder, self.pointer, self.stride = builder, pointer, stride

    def _address(self, row: ir.Value, column: ir.Value) -> ir.Value:
        return self.builder.gep(
            self.pointer, [self.builder.add(self.builder.mul(row, self.stride), column)]
        )

    def __getitem__(self, place: tuple[ir.Value, ir.Value]) -> Lanes:
        """Load the `LANES` columns of a row that start at a column."""
        address = self.builder.bitcast(self._address(*place), _VECTOR.as_pointer())
        loaded = self.builder.load(address)
        loaded.align = 4
        return Lanes(self.builder, loaded)

    def __setitem__(self, place: tuple[ir.Value, ir.Value], value: Lanes) -> None:
        address = self.builder.bitcast(self._address(*place), _VECTOR.as_pointer())
        self.builder.store(value.value, address).align = 4

    def fetch(self, row: ir.Value, column: ir.Value) -> None:
        """Ask for `LANES` columns that will be needed soon; beyond the array is no error."""
        module = self.builder.module
        function = module.globals.get("llvm.prefetch")
        if function is None:
            kinds = [_F32.as_pointer(), _I32, _I32, _I32]
            function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "llvm.prefetch")
        # For reading (0), into the nearest cache (3), data and not instructions (1).
        self.builder.call(function, [self._address(row, column), _I32(0), _I32(3), _I32(1)])

    def same(self, row: ir.Value) -> Lanes:
        """Load the one number that a row holds for all columns."""
        number = self.builder.load(self.builder.gep(self.pointer, [row]))
        empty = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(empty, number, _I32(0))
        spread = self.builder.shuffle_vector(first, empty, ir.Constant(_BITS, [0] * LANES))
        return Lanes(self.builder, spread)

    def integer(self, row: ir.Value) -> ir.Value:
        """Load one 64-bit integer of an array of integers."""
        address = self.builder.gep(self.pointer, [row])
        return self.builder.load(self.builder.bitcast(address, _I64.as_pointer()))


_COMPILING = threading.Lock()
"""LLVM compiles for one thread at a time."""


class Kernel:
    """A function of arrays: first recorded, then compiled, then called with tensors.

    Args:
        name: of the function.
        arrays: names of the float32 arrays, each with its own row stride.
        integers: names of the int64 arrays, one number per row.
        counts: names of the plain integer arguments.
    """

    def __init__(
        self,
        name: str,
        *,
        arrays: Sequence[str],
        integers: Sequence[str] = (),
        counts: Sequence[str],
    ) -> None:
        module = ir.Module(name)
        module.triple = binding.get_process_triple()
        pointers = [_F32.as_pointer()] * len(arrays) + [_I64.as_pointer()] * len(integers)
        names = (*arrays, *integers)
        arguments = pointers + [_I64] * (len(names) + len(counts))
        self._function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.builder = ir.IRBuilder(self._function.append_basic_block("entry"))
        values, n = self._function.args, len(names)
        self._arrays = {
            a: Rows(self.builder, values[i], values[n + i]) for i, a in enumerate(names)
        }
        self._counts = dict(zip(counts, values[2 * n :], strict=True))
        self._tensors = n
        self._signature = ctypes.CFUNCTYPE(
            None, *[ctypes.c_void_p] * n, *[ctypes.c_int64] * (n + len(counts))
        )
        self.zero = _I64(0)
        self._call: Any = None
        self._engine: Any = None

    def __getitem__(self, array: str) -> Rows:
        return self._arrays[array]

    def count(self, name: str) -> ir.Value:
        """Return a plain integer argument."""
        return self._counts[name]

    def number(self, value: float) -> Lanes:
        """Return the same number in every column."""
        return Lanes(self.builder, ir.Constant(_VECTOR, [float(value)] * LANES))

    def loop(self, count: ir.Value, step: int = 1) -> Iterator[ir.Value]:
        """Record the body of a `for` over this as a machine loop over range(0, count, step)."""
        build = self.builder
        before = build.block
        head, body, after = (
            self._function.append_basic_block(part) for part in ("head", "body", "after")
        )
        build.branch(head)
        build.position_at_end(head)
        index = build.phi(_I64)
        index.add_incoming(_I64(0), before)
        build.cbranch(build.icmp_unsigned("<", index, count), body, after)
        build.position_at_end(body)
        yield index
        index.add_incoming(build.add(index, _I64(step)), build.block)
        build.branch(head)
        build.position_at_end(after)

    def plus(self, index: ir.Value, offset: int | ir.Value) -> ir.Value:
        """Return index + offset."""
        return self.builder.add(index, _I64(offset) if isinstance(offset, int) else offset)

    def times(self, index: ir.Value, factor: int) -> ir.Value:
        """Return index * factor."""
        return self.builder.mul(index, _I64(factor))

    def compile(self) -> Kernel:
        """Compile what was recorded for the processor this runs on."""
        self.builder.ret_void()
        with _COMPILING:
            return self._compiled()

    def _compiled(self) -> Kernel:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        module = binding.parse_assembly(str(self._function.module))
        machine = binding.Target.from_default_triple().create_target_machine(
            cpu=binding.get_host_cpu_name(),
            features=binding.get_host_cpu_features().flatten(),
            opt=3,
        )
        # The formulas are vectors already: only the simple clean-up passes have work to do.
        options = binding.create_pipeline_tuning_options(speed_level=1)
        passes = binding.create_pass_builder(machine, options)
        passes.getModulePassManager().run(module, passes)
        self._engine = binding.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._call = self._signature(self._engine.get_function_address(self._function.name))
        return self

    def bind(self, *arguments: Any) -> Callable[[], None]:
        """Return a call on these tensors (arrays, then integers, in the order named) and counts.

        The tensors' memory is looked up now: they must stay alive and where they are. The
        interpreter lock is free during the call, so threads that work on different columns run side
        by side.
        """
        tensors: tuple[torch.Tensor, ...] = arguments[: self._tensors]
        places = [ctypes.c_void_p(t.data_ptr()) for t in tensors]
        numbers = [
            ctypes.c_int64(n)
            for n in (*(t.stride(0) for t in tensors), *arguments[self._tensors :])
        ]
        call = partial(self._call, *places, *numbers)
        # A bound call outlives caches and rebuilt buffers: it keeps its machine code and its memory
        # itself.
        call.kept = (self, tensors)  # type: ignore[attr-defined]
        return call

    def __call__(self, *arguments: Any) -> None:
        """Run once; see `bind`."""
        self.bind(*arguments)()
