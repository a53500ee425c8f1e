// The convolution trio where each group has one in-channel: so little to sum that moving the numbers is all the work.
// Channel c has `outputs` out-channels, c * outputs and the following.
//
// A thread does a strip: ROWS results of a column, one below the other, whose windows share their cells. What strips
// share lies in the L1 cache. K x L taps are in registers at a time: the whole window if it has a kernel of its own
// and moves by single cells, else <1, 1>, one tap after the other in any geometry.
#include "reduce.cuh"
#include "sum_parts.cuh"
#include "convolution.cuh"

constexpr int ROWS = 8;

// What the compiler may take for granted.
template <int K, int L> __device__ Convolution known(Convolution g) {
  if (K * L > 1) {
    g.k = K, g.l = L;
    g.s = g.t = g.d = g.e = 1;
  }
  return g;
}

// Goes down a plane, which has zeros around it, and reads L columns side by side.
template <class T, int L> struct Reader {
  const T *line;
  int row, width, height[L];  // none for a column outside: one comparison tells whether a cell is inside
  __device__ Reader(const T *plane, int rows, int columns, int row_, int column)
      : line(plane + row_ * columns + column), row(row_), width(columns) {
    for (int l = 0; l < L; l++) height[l] = (unsigned)(column + l) < (unsigned)columns ? rows : 0;
  }
  __device__ void read(T (&cells)[L], int stride) {
    for (int l = 0; l < L; l++) cells[l] = (unsigned)row < (unsigned)height[l] ? line[l] : T(0);
    row += stride;
    line += stride * width;
  }
};

// One axis of a correlation: result i is a sum over a < taps of tap `tap + a * step` times cell
// `cell + i * stride + a * apart`.
struct Axis { int results, taps, tap, step, cell, stride, apart; };

__device__ inline Axis forwards(int results, int taps, int stride, int before, int dilation) {
  return {results, taps, 0, 1, -before, stride, dilation};
}

// Of the input gradient, whose results are the cells of a phase: the taps from the last to the first.
__device__ inline Axis backwards(const Phase &p) {
  int last = p.taps - 1;
  return {p.cells, p.taps, p.tap + last * p.step, -p.step, p.output - last * p.apart, 1, p.apart};
}

// Adds what a plane gives to the strip that begins at (i, j); rows of w have `pitch` weights.
template <int K, int L, class T>
__device__ void correlate(const T *x, int height, int width, const T *w, int pitch, const Axis &rows,
                          const Axis &columns, int i, int j, T (&sum)[ROWS]) {
  for (int a = 0; a < rows.taps; a += K)
    for (int b = 0; b < columns.taps; b += L) {
      T tap[K][L], cells[L];
      for (int k = 0; k < K; k++)
        for (int l = 0; l < L; l++)
          tap[k][l] = w[(rows.tap + (a + k) * rows.step) * pitch + columns.tap + (b + l) * columns.step];
      int u = rows.cell + i * rows.stride + a * rows.apart, v = columns.cell + j * columns.stride + b * columns.apart;
      Reader<T, L> window(x, height, width, u, v);
#pragma unroll
      for (int r = 0; r < ROWS + K - 1; r++) {
        window.read(cells, rows.stride);
        for (int k = max(0, r - ROWS + 1); k <= min(r, K - 1); k++)
          for (int l = 0; l < L; l++) sum[r - k] += cells[l] * tap[k][l];
      }
    }
}

// The first `rows` results of a strip to every `pitch`-th number of y.
template <class T> __device__ void store(T *y, int pitch, int rows, const T *sum, T bias, bool relu) {
  for (int r = 0; r < ROWS; r++, y += pitch)
    if (r < rows) *y = positive(sum[r] + bias, relu);
}

template <class T, int K, int L>
__global__ void __launch_bounds__(256)
depthwise(const T *x, const T *w, const T *bias, T *y, Convolution g, int relu) {
  g = known<K, L>(g);
  int channels = g.groups * g.outputs;
  int i = (blockIdx.y * blockDim.y + threadIdx.y) * ROWS, j = blockIdx.x * blockDim.x + threadIdx.x;
  Axis rows = forwards(g.out_height, g.k, g.s, g.top, g.d), columns = forwards(g.out_width, g.l, g.t, g.left, g.e);
  if (i >= rows.results || j >= columns.results) return;
  for (int p = blockIdx.z * blockDim.z + threadIdx.z; p < g.batch * channels; p += gridDim.z * blockDim.z) {
    int o = p % channels;
    const T *plane = x + p / g.outputs * g.height * g.width;
    T sum[ROWS] = {};
    correlate<K, L>(plane, g.height, g.width, w + o * g.k * g.l, g.l, rows, columns, i, j, sum);
    T *at = y + (p * g.out_height + i) * g.out_width + j;
    store(at, g.out_width, rows.results - i, sum, bias ? bias[o] : T(0), relu);
  }
}

// Blocks side by side do the phases of the same cells: what they write in turn, a cache joins.
template <class T, int K, int L>
__global__ void __launch_bounds__(256)
depthwise_input_grad(const T *dy, const T *w, const T *bias, T *dx, Convolution g, int relu) {
  g = known<K, L>(g);
  int first_row = blockIdx.y % g.s, first_column = blockIdx.x % g.t, pixels = g.out_height * g.out_width;
  int i = (blockIdx.y / g.s * blockDim.y + threadIdx.y) * ROWS, j = blockIdx.x / g.t * blockDim.x + threadIdx.x;
  Axis rows = backwards(Phase(first_row, g.height, g.s, g.top, g.d, g.k));
  Axis columns = backwards(Phase(first_column, g.width, g.t, g.left, g.e, g.l));
  if (i >= rows.results || j >= columns.results) return;
  for (int p = blockIdx.z * blockDim.z + threadIdx.z; p < g.batch * g.groups; p += gridDim.z * blockDim.z) {
    int c = p % g.groups;
    T sum[ROWS] = {};
    for (int o = 0; o < g.outputs; o++) {
      const T *plane = dy + (p * g.outputs + o) * pixels, *weights = w + (c * g.outputs + o) * g.k * g.l;
      correlate<K, L>(plane, g.out_height, g.out_width, weights, g.l, rows, columns, i, j, sum);
    }
    T *at = dx + (p * g.height + first_row + i * g.s) * g.width + first_column + j * g.t;
    store(at, g.s * g.width, rows.results - i, sum, bias ? bias[c] : T(0), relu);
  }
}

// Adds the products of a strip of dy, of whose rows `below` are left, with the cells of its windows.
template <int K, int L, class T>
__device__ void add_products(Reader<T, 1> dy, int below, Reader<T, L> window, int stride, T (&sum)[K][L]) {
  constexpr int AHEAD = 32 / L;  // rows of which the loads are in flight together
  T slope[ROWS][1], cells[AHEAD][L];
  for (int r = 0; r < ROWS; r++) dy.read(slope[r], 1);
#pragma unroll
  for (int r = 0; r < ROWS + K - 1; r++) {
    if (r % AHEAD == 0)
      for (int ahead = 0; ahead < min(AHEAD, ROWS + K - 1 - r); ahead++) window.read(cells[ahead], stride);
    for (int k = max(0, r - ROWS + 1); k <= min(r, K - 1); k++)
      if (r - k < below)  // the zeros further down are no slopes: 0 * inf would be a NaN
        for (int l = 0; l < L; l++) sum[k][l] += cells[r % AHEAD][l] * slope[r - k][0];
  }
}

// A block sums K x L weights over `share` of the strips of all images; `columns` threads are side by side.
template <class T, int K, int L>
__global__ void __launch_bounds__(256)
depthwise_weight_grad(const T *dy, const T *x, T *part, Convolution g, int columns) {
  g = known<K, L>(g);
  int down = g.k / K, across = g.l / L, channels = g.groups * g.outputs;
  int b = blockIdx.x % across * L, a = blockIdx.x / across % down * K, o = blockIdx.x / (across * down);
  int strips = (g.out_height + ROWS - 1) / ROWS, lines = 256 / columns;
  int line = threadIdx.x / columns, column = threadIdx.x % columns, first = blockIdx.y * g.share;
  int end = line < lines ? min(first + g.share, g.batch * strips) : 0;
  T sum[K][L] = {};
  for (int strip = first + line; strip < end; strip += lines) {
    int n = strip / strips, i = strip % strips * ROWS;
    const T *slopes = dy + (n * channels + o) * g.out_height * g.out_width;
    const T *plane = x + (n * g.groups + o / g.outputs) * g.height * g.width;
    for (int j = column; j < g.out_width; j += columns) {
      int u = i * g.s + a * g.d - g.top, v = j * g.t + b * g.e - g.left;
      Reader<T, L> window(plane, g.height, g.width, u, v);
      add_products(Reader<T, 1>(slopes, g.out_height, g.out_width, i, j), g.out_height - i, window, g.s, sum);
    }
  }
  __shared__ T of_warps[8][K * L];
  for (int k = 0; k < K; k++)
    for (int l = 0; l < L; l++) {
      T total = warp_reduce<Sum>(sum[k][l]);
      if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32][k * L + l] = total;
    }
  __syncthreads();
  if (threadIdx.x >= K * L) return;
  T total = 0;
  for (int warp = 0; warp < 8; warp++) total += of_warps[warp][threadIdx.x];
  part[((blockIdx.y * channels + o) * g.k + a + threadIdx.x / L) * g.l + b + threadIdx.x % L] = total;
}
