// The convolution trio by implicit matrix products on the CUDA cores. Grid: tiles of columns, tiles of rows, and parts of
// the sum times groups (times phases, for the input gradient).
#include "sum_parts.cuh"
#include "tile.cuh"
#include "convolution.cuh"

#define TILED(NAME) \
  template <class T, int BM, int BN, int BK, int TM, int TN> \
  __global__ void __launch_bounds__(Tile<T, BM, BN, BK, TM, TN>::THREADS, Tile<T, BM, BN, BK, TM, TN>::BLOCKS) NAME

TILED(forward)(const T *x, const T *w, const T *bias, T *y, Convolution g) {
  int group = blockIdx.z % g.groups, part = blockIdx.z / g.groups, columns = g.batch * g.out_height * g.out_width;
  int first = part * g.share, last = min(g.channels * g.k * g.l, first + g.share);
  y += part * g.groups * g.outputs * columns;
  Tile<T, BM, BN, BK, TM, TN>::run(Weights<T>(w, g, group), Windows<T>(x, g, group), ToOutput<T>(y, bias, g, group),
                                   g.outputs, columns, blockIdx.y * BM, blockIdx.x * BN, first, last);
}

TILED(input_grad)(const T *dy, const T *w, const T *bias, T *dx, Convolution g) {
  int q = blockIdx.z % g.t, r = blockIdx.z / g.t % g.s, group = blockIdx.z / (g.s * g.t) % g.groups;
  int part = blockIdx.z / (g.s * g.t * g.groups);
  Phase rows(r, g.height, g.s, g.top, g.d, g.k), columns(q, g.width, g.t, g.left, g.e, g.l);
  int cells = g.batch * rows.cells * columns.cells;
  if (blockIdx.x * BN >= cells) return;  // the phases are not all of one size
  int first = part * g.share, last = min(g.outputs * rows.taps * columns.taps, first + g.share);
  dx += part * g.batch * g.groups * g.channels * g.height * g.width;
  Tile<T, BM, BN, BK, TM, TN>::run(PhaseWeights<T>(w, g, group, rows, columns), PhaseSlopes<T>(dy, g, group, rows, columns),
                                   ToInput<T>(dx, bias, g, group, r, q, rows, columns), g.channels, cells,
                                   blockIdx.y * BM, blockIdx.x * BN, first, last);
}

TILED(weight_grad)(const T *dy, const T *x, T *dw, Convolution g) {
  int group = blockIdx.z % g.groups, part = blockIdx.z / g.groups, length = g.channels * g.k * g.l;
  int first = part * g.share, last = min(g.batch * g.out_height * g.out_width, first + g.share);
  dw += part * g.groups * g.outputs * length;
  Tile<T, BM, BN, BK, TM, TN>::run(Slopes<T>(dy, g, group), TurnedWindows<T>(x, g, group), ToWeights<T>(dw, g, group),
                                   g.outputs, length, blockIdx.y * BM, blockIdx.x * BN, first, last);
}
