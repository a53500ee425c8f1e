// The convolution trio where each group has one in-channel: so little to sum that each thread does a result, and for the
// weight gradient a block. Channel c has `outputs` out-channels, c * outputs and the following.
#include "reduce.cuh"
#include "convolution.cuh"

template <class T> __global__ void depthwise(const T *x, const T *w, const T *bias, T *y, Convolution g) {
  int cell = thread_of_grid(), channels = g.groups * g.outputs;
  if (cell >= g.batch * channels * g.out_height * g.out_width) return;
  int j = cell % g.out_width, i = cell / g.out_width % g.out_height, o = cell / (g.out_height * g.out_width);
  int n = o / channels;
  o %= channels;
  x += (n * g.groups + o / g.outputs) * g.height * g.width;
  T sum = 0;
  for (int k = 0; k < g.k; k++)
    for (int l = 0; l < g.l; l++) {
      int u = i * g.s + k * g.d - g.top, v = j * g.t + l * g.e - g.left;
      if (u >= 0 && u < g.height && v >= 0 && v < g.width) sum += x[u * g.width + v] * w[(o * g.k + k) * g.l + l];
    }
  y[cell] = sum + (bias ? bias[o] : T(0));
}

template <class T> __global__ void depthwise_input_grad(const T *dy, const T *w, const T *bias, T *dx, Convolution g) {
  int cell = thread_of_grid();
  if (cell >= g.batch * g.groups * g.height * g.width) return;
  int v = cell % g.width, u = cell / g.width % g.height, plane = cell / (g.height * g.width), c = plane % g.groups;
  dy += plane * g.outputs * g.out_height * g.out_width;
  w += c * g.outputs * g.k * g.l;
  T sum = 0;
  for (int k = 0; k < g.k; k++)
    for (int l = 0; l < g.l; l++) {
      int row = u + g.top - k * g.d, place = v + g.left - l * g.e, i = row / g.s, j = place / g.t;
      if (row < 0 || place < 0 || row % g.s || place % g.t || i >= g.out_height || j >= g.out_width) continue;
      for (int o = 0; o < g.outputs; o++)
        sum += dy[(o * g.out_height + i) * g.out_width + j] * w[(o * g.k + k) * g.l + l];
    }
  dx[cell] = sum + (bias ? bias[c] : T(0));
}

// A block sums one weight.
template <class T> __global__ void depthwise_weight_grad(const T *dy, const T *x, T *dw, Convolution g) {
  int l = blockIdx.x % g.l, k = blockIdx.x / g.l % g.k, o = blockIdx.x / (g.k * g.l), channels = g.groups * g.outputs;
  int pixels = g.out_height * g.out_width;
  T sum = 0;
  for (int p = threadIdx.x; p < g.batch * pixels; p += 256) {
    int n = p / pixels, i = p % pixels / g.out_width, j = p % pixels % g.out_width;
    int u = i * g.s + k * g.d - g.top, v = j * g.t + l * g.e - g.left;
    if (u >= 0 && u < g.height && v >= 0 && v < g.width)
      sum += dy[(n * channels + o) * pixels + p % pixels] *
             x[((n * g.groups + o / g.outputs) * g.height + u) * g.width + v];
  }
  sum = group_reduce<256, Sum>(sum);
  if (threadIdx.x == 0) dw[blockIdx.x] = sum;
}
