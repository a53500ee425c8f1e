// The convolution trio on the tensor cores, in TF32. Grid as in conv2d.cu.
#include "sum_parts.cuh"
#include "tensor_tile.cuh"
#include "convolution.cuh"

template <class T> __global__ void __launch_bounds__(128) forward(const T *x, const T *w, const T *bias, T *y, Convolution g) {
  int group = blockIdx.z;
  TensorTile::run(Weights<T>(w, g, group), Windows<T>(x, g, group), ToOutput<T>(y, bias, g, group), g.outputs,
                  g.batch * g.out_height * g.out_width, blockIdx.y * TensorTile::BM, blockIdx.x * TensorTile::BN, 0,
                  g.channels * g.k * g.l);
}

template <class T> __global__ void __launch_bounds__(128) input_grad(const T *dy, const T *w, const T *bias, T *dx, Convolution g) {
  int group = blockIdx.z / (g.s * g.t), r = blockIdx.z / g.t % g.s, q = blockIdx.z % g.t;
  Phase rows(r, g.height, g.s, g.top, g.d, g.k), columns(q, g.width, g.t, g.left, g.e, g.l);
  int cells = g.batch * rows.cells * columns.cells;
  if (blockIdx.x * TensorTile::BN >= cells) return;  // the phases are not all of one size
  TensorTile::run(PhaseWeights<T>(w, g, group, rows, columns), PhaseSlopes<T>(dy, g, group, rows, columns),
                  ToInput<T>(dx, bias, g, group, r, q, rows, columns), g.channels, cells, blockIdx.y * TensorTile::BM,
                  blockIdx.x * TensorTile::BN, 0, g.outputs * rows.taps * columns.taps);
}

template <class T> __global__ void __launch_bounds__(128) weight_grad(const T *dy, const T *x, T *dw, Convolution g) {
  int group = blockIdx.z % g.groups, part = blockIdx.z / g.groups, length = g.channels * g.k * g.l;
  int first = part * g.share, last = min(g.batch * g.out_height * g.out_width, first + g.share);
  dw += part * g.groups * g.outputs * length;
  TensorTile::run(Slopes<T>(dy, g, group), TurnedWindows<T>(x, g, group), ToWeights<T>(dw, g, group), g.outputs, length,
                  blockIdx.y * TensorTile::BM, blockIdx.x * TensorTile::BN, first, last);
}
