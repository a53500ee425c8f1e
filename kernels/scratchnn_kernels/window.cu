// Average pooling, padding and resizing of [planes, H, W], and their adjoints: a thread gathers the results of one cell
// in many planes, because where that cell looks and with what weights is the same in all of them.
#include "common.cuh"

// From planes [height, width] to planes [out_height, out_width], and what an operation knows of each axis.
template <class Axis> struct Map {
  int planes, height, width, out_height, out_width;
  Axis rows, columns;
};

// The planes of a thread, PLANES at a time: their loads are in flight together. Neighbours in a block's y take
// neighbouring planes: small ones lie side by side, and a warp reads and writes several in one piece.
template <int PLANES> struct Planes {
  int first, count, inputs, outputs;
  template <class Axis> __device__ explicit Planes(const Map<Axis> &m)
      : first(blockIdx.y * blockDim.y * PLANES + threadIdx.y), count(m.planes), inputs(m.height * m.width),
        outputs(m.out_height * m.out_width) {}
  __device__ bool any() const { return first < count; }
  __device__ void next() { first += gridDim.y * blockDim.y * PLANES; }
  __device__ int number(int p) const { return first + p * (int)blockDim.y; }
  // Where the inputs of plane p begin. Behind the last plane, it is the last one: read once more, and not stored.
  __device__ int begin(int p) const { return min(number(p), count - 1) * inputs; }
  template <class T> __device__ void store(const T (&value)[PLANES], T *y, int cell) const {
#pragma unroll
    for (int p = 0; p < PLANES; p++)
      if (number(p) < count) y[number(p) * outputs + cell] = value[p];
  }
};

// Rows and columns are weighed independently:
//
//   y[i,j] = sum over u, v of row.weight(u) * column.weight(v) * x[u,v]
//
// where row = Span(rows, i) and column = Span(columns, j) are what a result sees along each axis, from first to last.
// TAPS columns are loaded together.
template <class T, class Span> __global__ void weighted(const T *x, T *y, Map<typename Span::Axis> m) {
  constexpr int PLANES = Span::PLANES, TAPS = Span::TAPS;
  int cell = thread_of_grid();
  if (cell >= m.out_height * m.out_width) return;
  int i = cell / m.out_width;
  Span row(m.rows, i), column(m.columns, cell - i * m.out_width);
  for (Planes<PLANES> planes(m); planes.any(); planes.next()) {
    T sum[PLANES] = {};
    for (int v = column.first; v <= column.last; v += TAPS) {
      T weight[TAPS], value[PLANES][TAPS];
#pragma unroll
      for (int t = 0; t < TAPS; t++) weight[t] = v + t <= column.last ? column.weight(v + t) : T(0);
      for (int u = row.first; u <= row.last; u++) {
#pragma unroll
        for (int p = 0; p < PLANES; p++)
#pragma unroll
          for (int t = 0; t < TAPS; t++) {
            int from = planes.begin(p) + u * m.width + v;
            value[p][t] = v + t <= column.last ? x[from + t] : T(0);
          }
        T share = row.weight(u);
#pragma unroll
        for (int p = 0; p < PLANES; p++)
#pragma unroll
          for (int t = 0; t < TAPS; t++) sum[p] += share * weight[t] * value[p][t];
      }
    }
    planes.store(sum, y, cell);
  }
}

struct Averaging {
  int length, windows, taps, stride, before, after, counts_padding;
  // How many cells window i averages over.
  __device__ int cells(int i) const {
    int first = i * stride - before;
    int low = counts_padding ? -before : 0, high = counts_padding ? length + after : length;
    return min(first + taps, high) - max(first, low);
  }
};

// The cells in window i.
template <class T> struct Average {
  using Axis = Averaging;
  static constexpr int PLANES = 4, TAPS = 2;
  int first, last;
  T share;
  __device__ Average(const Axis &a, int i)
      : first(max(0, i * a.stride - a.before)), last(min(a.length, i * a.stride - a.before + a.taps) - 1),
        share(T(1) / T(a.cells(i))) {}
  __device__ T weight(int) const { return share; }
};

// The windows that hold cell u: the first ends at or behind it, the last begins at or before it.
template <class T> struct AverageGrad {
  using Axis = Averaging;
  static constexpr int PLANES = 8, TAPS = 1;
  Axis axis;
  int first, last;
  __device__ AverageGrad(const Axis &a, int u)
      : axis(a), first(max(0, (u + a.before - a.taps + a.stride) / a.stride)),
        last(min(a.windows - 1, (u + a.before) / a.stride)) {}
  __device__ T weight(int i) const { return T(1) / T(axis.cells(i)); }
};

enum Mode { NEAREST, BILINEAR, CORNERS };
struct Resizing {
  int inputs, outputs, mode;
  double step, stretch;  // inputs for each output, outputs for each input
  __device__ double centre() const { return mode == CORNERS ? 0 : 0.5; }  // of a cell: its pixel is an area or a point
};
struct Blend { int left, right; double of_right; };

// The two cells that output i blends, and how much of the right one it takes, in the same double precision as
// resize2d.py.
__device__ inline Blend blend_of(const Resizing &r, int i) {
  if (r.mode == NEAREST) {
    int cell = (int)((long long)i * r.inputs / r.outputs);
    return {cell, cell, 0};
  }
  // The maximum stands between * and -, so that no fused multiply-add rounds otherwise than NumPy.
  double place = max((i + r.centre()) * r.step, r.centre()) - r.centre();
  int left = min((int)place, r.inputs - 1), right = min(left + 1, r.inputs - 1);
  return {left, right, left < right ? place - left : 0};
}

template <class T> __global__ void resize(const T *x, T *y, Map<Resizing> m) {
  constexpr int PLANES = 8;
  int cell = thread_of_grid();
  if (cell >= m.out_height * m.out_width) return;
  int i = cell / m.out_width;
  Blend row = blend_of(m.rows, i), column = blend_of(m.columns, cell - i * m.out_width);
  T above = T(1 - row.of_right), below = T(row.of_right), left = T(1 - column.of_right), right = T(column.of_right);
  int upper = row.left * m.width, lower = row.right * m.width;
  int corner[] = {upper + column.left, upper + column.right, lower + column.left, lower + column.right};
  T weight[] = {above * left, above * right, below * left, below * right};
  for (Planes<PLANES> planes(m); planes.any(); planes.next()) {
    T value[PLANES][4];
#pragma unroll
    for (int p = 0; p < PLANES; p++)
#pragma unroll
      for (int c = 0; c < 4; c++) value[p][c] = x[planes.begin(p) + corner[c]];
    T blended[PLANES] = {};
#pragma unroll
    for (int p = 0; p < PLANES; p++)
#pragma unroll
      for (int c = 0; c < 4; c++) blended[p] += weight[c] * value[p][c];
    planes.store(blended, y, cell);
  }
}

// The outputs that blend cell u: their places lie within one cell of it. That range is too wide for NEAREST, and by
// rounding, so outputs without a weight are cut off at both ends.
template <class T> struct ResizeGrad {
  using Axis = Resizing;
  static constexpr int PLANES = 8, TAPS = 4;
  Axis axis;
  int cell, first, last;
  __device__ ResizeGrad(const Axis &r, int u) : axis(r), cell(u) {
    double place = u + r.centre();
    first = (int)max((place - 1) * r.stretch - r.centre(), 0.0);
    last = (int)min((place + 1) * r.stretch - r.centre() + 1, r.outputs - 1.0);
    while (first <= last && weight(first) == 0) first++;
    while (first < last && weight(last) == 0) last--;
  }
  __device__ T weight(int i) const {
    Blend blend = blend_of(axis, i);
    return T((blend.left == cell ? 1 - blend.of_right : 0) + (blend.right == cell ? blend.of_right : 0));
  }
};

struct Padding { int length, padded, before, reflects; };

// Which cell of an axis a padded cell shows, -1 for none.
__device__ inline int source(const Padding &a, int i) {
  i -= a.before;
  if (!a.reflects) return i < a.length ? i : -1;  // negative before the beginning
  i = i < 0 ? -i : i;
  return i < a.length ? i : 2 * (a.length - 1) - i;
}

template <class T> __global__ void pad(const T *x, T *y, Map<Padding> m) {
  constexpr int PLANES = 8;
  int cell = thread_of_grid();
  if (cell >= m.out_height * m.out_width) return;
  int i = cell / m.out_width, u = source(m.rows, i), v = source(m.columns, cell - i * m.out_width);
  bool inside = u >= 0 && v >= 0;
  for (Planes<PLANES> planes(m); planes.any(); planes.next()) {
    T value[PLANES];
#pragma unroll
    for (int p = 0; p < PLANES; p++)
      value[p] = inside ? x[planes.begin(p) + u * m.width + v] : T(0);
    planes.store(value, y, cell);
  }
}

// The padded cells that show cell u: itself, and its images in the mirrors at both ends; negative for none.
struct Images {
  int at[3];
  __device__ Images(const Padding &a, int u) {
    at[0] = a.before + u;
    at[1] = a.reflects && u > 0 ? a.before - u : -1;
    at[2] = a.reflects && u < a.length - 1 ? a.before + 2 * (a.length - 1) - u : -1;
#pragma unroll
    for (int n = 0; n < 3; n++)
      if (at[n] >= a.padded) at[n] = -1;
  }
};

template <class T> __global__ void pad_grad(const T *dy, T *dx, Map<Padding> m) {
  constexpr int PLANES = 4;
  int cell = thread_of_grid();
  if (cell >= m.out_height * m.out_width) return;
  int u = cell / m.out_width;
  Images rows(m.rows, u), columns(m.columns, cell - u * m.out_width);
  for (Planes<PLANES> planes(m); planes.any(); planes.next()) {
    T sum[PLANES] = {};
#pragma unroll
    for (int a = 0; a < 3; a++)
#pragma unroll
      for (int b = 0; b < 3; b++) {
        if (rows.at[a] < 0 || columns.at[b] < 0) continue;
        int image = rows.at[a] * m.width + columns.at[b];
#pragma unroll
        for (int p = 0; p < PLANES; p++) sum[p] += dy[planes.begin(p) + image];
      }
    planes.store(sum, dx, cell);
  }
}
