// The convolution trio by implicit matrix products on the CUDA cores. Grid: tiles of columns, tiles of rows, and parts of
// the sum times groups (times phases, for the input gradient).
#include "sum_parts.cuh"
#include "tile.cuh"
#include "part.cuh"

#define TILED(NAME) \
  template <class T, int BM, int BN, int BK, int TM, int TN> \
  __global__ void __launch_bounds__(Tile<T, BM, BN, BK, TM, TN>::THREADS, Tile<T, BM, BN, BK, TM, TN>::BLOCKS) NAME

TILED(forward)(const T *x, const T *w, const T *bias, T *y, Convolution g) {
  Part of(g, blockIdx.z);
  int columns = g.batch * g.out_height * g.out_width;
  int first = of.part * g.share, last = min(g.channels * g.k * g.l, first + g.share);
  y += of.part * g.groups * g.outputs * columns;
  Tile<T, BM, BN, BK, TM, TN>::run(Weights<T>(w, g, of.group), Windows<T>(x, g, of.group),
                                   ToOutput<T>(y, bias, g, of.group), g.outputs, columns, blockIdx.y * BM,
                                   blockIdx.x * BN, first, last);
}

TILED(input_grad)(const T *dy, const T *w, const T *bias, T *dx, Convolution g) {
  PhasePart of(g, blockIdx.z);
  int cells = of.cells(g);
  if (blockIdx.x * BN >= cells) return;  // the phases are not all of one size
  int first = of.part * g.share, last = min(g.outputs * of.rows.taps * of.columns.taps, first + g.share);
  dx += of.part * g.batch * g.groups * g.channels * g.height * g.width;
  Tile<T, BM, BN, BK, TM, TN>::run(PhaseWeights<T>(w, g, of.group, of.rows, of.columns),
                                   PhaseSlopes<T>(dy, g, of.group, of.rows, of.columns),
                                   ToInput<T>(dx, bias, g, of.group, of.r, of.q, of.rows, of.columns), g.channels,
                                   cells, blockIdx.y * BM, blockIdx.x * BN, first, last);
}

TILED(weight_grad)(const T *dy, const T *x, T *dw, Convolution g) {
  Part of(g, blockIdx.z);
  int length = g.channels * g.k * g.l;
  int first = of.part * g.share, last = min(g.batch * g.out_height * g.out_width, first + g.share);
  dw += of.part * g.groups * g.outputs * length;
  Tile<T, BM, BN, BK, TM, TN>::run(Slopes<T>(dy, g, of.group), TurnedWindows<T>(x, g, of.group),
                                   ToWeights<T>(dw, g, of.group), g.outputs, length, blockIdx.y * BM,
                                   blockIdx.x * BN, first, last);
}
