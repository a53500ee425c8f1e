"""drywarp runs CUDA C++ kernels on a CPU, to find their bugs where there is no GPU. It needs g++ and NumPy.

    module = drywarp.RawModule(code=source, name_expressions=["scale<float>"])       as cupy.RawModule
    module.get_function("scale<float>")((blocks,), (threads,), (x, numpy.float32(2), numpy.int32(x.size)))

A `.cu` file is compiled as it is, and launched over NumPy arrays by the code that launches it over CuPy's. Each CUDA
thread is a fiber that runs until it must wait; what a kernel does wrong is one DrywarpError with the block and thread:

- a missing barrier or a dependence on the order of threads is a wrong number under one of six SCHEDULES (`checking`);
- __syncthreads in diverging branches, a deadlock, a warp collective with a wrong mask or an exited lane;
- reads and writes beyond an array: every array and the dynamic shared memory end at an unreadable page in half of the
  schedules and begin at one in the others; static shared arrays and declared arrays are checked by UBSan;
- uninitialised shared memory and outputs: both are NaNs (`empty` makes such outputs);
- the number, kind and size of arguments, the type that a pointer points at, non-contiguous or overlapping arrays;
- undefined behaviour (UBSan): overflow, shifts, division by zero, misaligned vector access;
- data races on shared and global memory within a block, with `checking(races=True)` (ThreadSanitizer);
- a cp.async that is not waited for: it lands at the last legal moment.

Limits. It sees no memory model, no races between blocks, no grid-wide synchronisation, no wgmma or TMA, no coalescing,
bank conflicts, occupancy or registers, no rounding of fast functions, no limit of static shared memory. Inline PTX does
not run: put it into a function that under `#ifdef DRYWARP` calls drywarp's own (include/async_copy.h, tensor_core.h).
x86-64 Linux. A CUDA thread costs about a tenth of a microsecond: use small shapes, and no time measured here means
anything.
"""

from drywarp.compiler import DrywarpError
from drywarp.memory import empty
from drywarp.module import SCHEDULES, Kernel, RawModule, checking

__all__ = ["SCHEDULES", "DrywarpError", "Kernel", "RawModule", "checking", "empty"]
