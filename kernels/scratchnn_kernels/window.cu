// Average pooling, padding and resizing of [planes, H, W], and their adjoints: a thread a result, which gathers.
#include "common.cuh"

struct Average { int planes, height, width, out_height, out_width, k, l, s, t, top, left, bottom, right, counts_padding; };

// How many cells window i of an axis averages over.
__device__ inline int window_cells(int i, int taps, int stride, int before, int length, int after, bool counts_padding) {
  int first = i * stride - before, low = counts_padding ? -before : 0, high = counts_padding ? length + after : length;
  return min(first + taps, high) - max(first, low);
}

__device__ inline int cells_averaged(int i, int j, const Average &a) {
  return window_cells(i, a.k, a.s, a.top, a.height, a.bottom, a.counts_padding) *
         window_cells(j, a.l, a.t, a.left, a.width, a.right, a.counts_padding);
}

template <class T> __global__ void average(const T *x, T *y, Average a) {
  int cell = thread_of_grid();
  if (cell >= a.planes * a.out_height * a.out_width) return;
  int j = cell % a.out_width, i = cell / a.out_width % a.out_height, plane = cell / (a.out_height * a.out_width);
  x += plane * a.height * a.width;
  T sum = 0;
  for (int u = max(0, i * a.s - a.top); u < min(a.height, i * a.s - a.top + a.k); u++)
    for (int v = max(0, j * a.t - a.left); v < min(a.width, j * a.t - a.left + a.l); v++) sum += x[u * a.width + v];
  y[cell] = sum / T(cells_averaged(i, j, a));
}

template <class T> __global__ void average_grad(const T *dy, T *dx, Average a) {
  int cell = thread_of_grid();
  if (cell >= a.planes * a.height * a.width) return;
  int v = cell % a.width, u = cell / a.width % a.height, plane = cell / (a.height * a.width);
  dy += plane * a.out_height * a.out_width;
  // The windows that hold (u, v): the first ends at or behind it, the last begins at or before it.
  int first = max(0, (u + a.top - a.k + a.s) / a.s), last = min(a.out_height - 1, (u + a.top) / a.s);
  int left = max(0, (v + a.left - a.l + a.t) / a.t), right = min(a.out_width - 1, (v + a.left) / a.t);
  T sum = 0;
  for (int i = first; i <= last; i++)
    for (int j = left; j <= right; j++) sum += dy[i * a.out_width + j] / T(cells_averaged(i, j, a));
  dx[cell] = sum;
}

struct Padding { int planes, height, width, out_height, out_width, top, left, reflects; };

// Which cell of an axis a padded cell shows, -1 for none.
__device__ inline int source(int i, int length, bool reflects) {
  if (!reflects) return i < length ? i : -1;  // negative before the beginning
  i = i < 0 ? -i : i;
  return i < length ? i : 2 * (length - 1) - i;
}

template <class T> __global__ void pad(const T *x, T *y, Padding p) {
  int cell = thread_of_grid();
  if (cell >= p.planes * p.out_height * p.out_width) return;
  int j = cell % p.out_width, i = cell / p.out_width % p.out_height, plane = cell / (p.out_height * p.out_width);
  int u = source(i - p.top, p.height, p.reflects), v = source(j - p.left, p.width, p.reflects);
  y[cell] = u >= 0 && v >= 0 ? x[(plane * p.height + u) * p.width + v] : T(0);
}

// The padded cells that show cell u, in a row of three: itself, and its images in the mirrors at both ends.
__device__ inline int image(int which, int u, int length, bool reflects) {
  if (which == 0) return u;
  if (!reflects || u == (which == 1 ? 0 : length - 1)) return -(1 << 30);
  return which == 1 ? -u : 2 * (length - 1) - u;
}

template <class T> __global__ void pad_grad(const T *dy, T *dx, Padding p) {
  int cell = thread_of_grid();
  if (cell >= p.planes * p.height * p.width) return;
  int v = cell % p.width, u = cell / p.width % p.height, plane = cell / (p.height * p.width);
  T sum = 0;
  for (int a = 0; a < 3; a++)
    for (int b = 0; b < 3; b++) {
      int i = image(a, u, p.height, p.reflects) + p.top, j = image(b, v, p.width, p.reflects) + p.left;
      if (0 <= i && i < p.out_height && 0 <= j && j < p.out_width)
        sum += dy[(plane * p.out_height + i) * p.out_width + j];
    }
  dx[cell] = sum;
}

enum Mode { NEAREST, BILINEAR, CORNERS };
struct Resizing { int planes, height, width, out_height, out_width, mode; };
struct Place { int left, right; double blend; };

// The two cells that output i blends, and how much of the second it takes: resize2d.py, in the same double precision.
__device__ inline Place place_of(int i, int inputs, int outputs, int mode) {
  if (mode == NEAREST) {
    int cell = (int)((long long)i * inputs / outputs);
    return {cell, cell, 0};
  }
  double place = mode == CORNERS ? i * ((double)(inputs - 1) / max(outputs - 1, 1))
                                 : (i + 0.5) * ((double)inputs / outputs) - 0.5;
  place = place > 0 ? place : 0;
  int left = min((int)place, inputs - 1);
  return {left, min(left + 1, inputs - 1), place - left};
}

__device__ inline double weight_of(const Place &place, int cell) {
  return (place.left == cell ? 1 - place.blend : 0) + (place.right == cell ? place.blend : 0);
}

// Outputs that may look at cell u: those whose place lies within a cell of it, and one more on each side for rounding.
__device__ inline int first_looking(int u, int inputs, int outputs) {
  return max(0, (int)((double)(u - 2) * outputs / inputs) - 1);
}
__device__ inline int last_looking(int u, int inputs, int outputs, int mode) {
  // Aligned corners stretch the outputs over inputs - 1 cells.
  double cells = mode == CORNERS ? max(inputs - 1, 1) : inputs;
  return min(outputs - 1, (int)((u + 2) * (outputs / cells)) + 1);
}

template <class T> __global__ void resize(const T *x, T *y, Resizing r) {
  int cell = thread_of_grid();
  if (cell >= r.planes * r.out_height * r.out_width) return;
  int j = cell % r.out_width, i = cell / r.out_width % r.out_height, plane = cell / (r.out_height * r.out_width);
  x += plane * r.height * r.width;
  Place row = place_of(i, r.height, r.out_height, r.mode), column = place_of(j, r.width, r.out_width, r.mode);
  T a = T(row.blend), b = T(column.blend);
  const T *upper = x + row.left * r.width, *lower = x + row.right * r.width;
  T above = (1 - b) * upper[column.left] + b * upper[column.right];
  T below = (1 - b) * lower[column.left] + b * lower[column.right];
  y[cell] = (1 - a) * above + a * below;
}

template <class T> __global__ void resize_grad(const T *dy, T *dx, Resizing r) {
  int cell = thread_of_grid();
  if (cell >= r.planes * r.height * r.width) return;
  int v = cell % r.width, u = cell / r.width % r.height, plane = cell / (r.height * r.width);
  dy += plane * r.out_height * r.out_width;
  int last_row = last_looking(u, r.height, r.out_height, r.mode), last = last_looking(v, r.width, r.out_width, r.mode);
  T sum = 0;
  for (int i = first_looking(u, r.height, r.out_height); i <= last_row; i++) {
    T a = T(weight_of(place_of(i, r.height, r.out_height, r.mode), u));
    for (int j = first_looking(v, r.width, r.out_width); a != 0 && j <= last; j++)
      sum += a * T(weight_of(place_of(j, r.width, r.out_width, r.mode), v)) * dy[i * r.out_width + j];
  }
  dx[cell] = sum;
}
