// Which product a block does, and which part of its sums: z of a grid counts groups within parts, and for the input
// gradient phases within groups. One z is unsigned and one is not: so the tensor cores' kernels spill no register.
#pragma once
#include "convolution.cuh"

struct Part {
  int group, part;
  __device__ Part(const Convolution &g, unsigned z) : group(z % g.groups), part(z / g.groups) {}
};

struct PhasePart {
  int q, r, group, part;  // q and r: the first column and the first row of the phase
  Phase rows, columns;
  __device__ PhasePart(const Convolution &g, int z)
      : q(z % g.t), r(z / g.t % g.s), group(z / (g.s * g.t) % g.groups), part(z / (g.s * g.t * g.groups)),
        rows(r, g.height, g.s, g.top, g.d, g.k), columns(q, g.width, g.t, g.left, g.e, g.l) {}
  __device__ int cells(const Convolution &g) const { return g.batch * rows.cells * columns.cells; }
};
