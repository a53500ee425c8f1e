// The convolution trio on the tensor cores, in TF32. Grid as in conv2d.cu.
#include "sum_parts.cuh"
#include "tensor_tile.cuh"
#include "part.cuh"

#define TENSOR(NAME)           \
  template <class T, int SIZE> \
  __global__ void __launch_bounds__(TensorTile<SIZE>::THREADS, TensorTile<SIZE>::BLOCKS) NAME

// For finding a block's part anew when the products are summed: until then there are no registers to keep it in.
__device__ inline int same_z() {
  int z = blockIdx.z;
  keep(z);
  return z;
}

// The terms of a part. It begins at a multiple of four, as 16 bytes of A must; the last parts may have none.
struct Terms {
  int first, last;
  __device__ Terms(int part, int share, int length) {
    share = (share + 3) / 4 * 4;
    first = min(length, part * share);
    last = min(length, first + share);
  }
};

TENSOR(forward)(const T *x, const T *w, const T *bias, T *y, Convolution g) {
  __shared__ typename TensorTile<SIZE>::Stages stages;
  typename TensorTile<SIZE>::Sums sum = {};
  Part of(g, blockIdx.z);
  int columns = g.batch * g.out_height * g.out_width, length = g.channels * g.k * g.l;
  bool packed = aligned(w) && length % 4 == 0;
  Terms k(of.part, g.share, length);
  TensorTile<SIZE>::template add<Across>(stages, sum, Weights<T>(w, g, of.group), packed, Windows<T>(x, g, of.group),
                                         g.outputs, columns, k.first, k.last);
  Part to(g, same_z());
  y += to.part * g.groups * g.outputs * columns;
  TensorTile<SIZE>::store(stages, sum, ToOutput<T>(y, bias, g, to.group), g.outputs, columns);
}

TENSOR(input_grad)(const T *dy, const T *w, const T *bias, T *dx, Convolution g) {
  __shared__ typename TensorTile<SIZE>::Stages stages;
  typename TensorTile<SIZE>::Sums sum = {};
  PhasePart of(g, blockIdx.z);
  int cells = of.cells(g), length = g.outputs * of.rows.taps * of.columns.taps;
  if (blockIdx.x * SIZE >= cells) return;  // the phases are not all of one size
  Terms k(of.part, g.share, length);
  TensorTile<SIZE>::template add<Across>(stages, sum, PhaseWeights<T>(w, g, of.group, of.rows, of.columns), false,
                                         PhaseSlopes<T>(dy, g, of.group, of.rows, of.columns), g.channels, cells,
                                         k.first, k.last);
  PhasePart to(g, same_z());
  dx += to.part * g.batch * g.groups * g.channels * g.height * g.width;
  ToInput<T> result(dx, bias, g, to.group, to.r, to.q, to.rows, to.columns);
  TensorTile<SIZE>::store(stages, sum, result, g.channels, to.cells(g));
}

TENSOR(weight_grad)(const T *dy, const T *x, T *dw, Convolution g) {
  __shared__ typename TensorTile<SIZE>::Stages stages;
  typename TensorTile<SIZE>::Sums sum = {};
  Part of(g, blockIdx.z);
  int columns = g.channels * g.k * g.l, pixels = g.out_height * g.out_width;
  bool packed = aligned(dy) && pixels % 4 == 0;
  Terms k(of.part, g.share, g.batch * pixels);
  TensorTile<SIZE>::template add<Along>(stages, sum, Slopes<T>(dy, g, of.group), packed, Windows<T>(x, g, of.group),
                                        g.outputs, columns, k.first, k.last);
  dw += of.part * g.groups * g.outputs * columns;
  TensorTile<SIZE>::store(stages, sum, ToWeights<T>(dw, g, of.group), g.outputs, columns);
}
