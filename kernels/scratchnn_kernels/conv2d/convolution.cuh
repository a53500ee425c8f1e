// The convolution trio as matrix products whose matrices are never made: where A, B and C have their numbers.
//
//   forward       y  [o, (n,i,j)]     = sum over (c,k,l)  w [o, (c,k,l)]    x windows [(c,k,l), (n,i,j)]
//   input grad    dx [c, (n,u,v)]     = sum over (o,k,l)  w [c, (o,k,l)]    dy        [(o,k,l), (n,u,v)]
//   weight grad   dw [o, (c,k,l)]     = sum over (n,i,j)  dy [o, (n,i,j)]   x windows [(n,i,j), (c,k,l)]
//
// all within one group. With a stride, the input gradient falls into phases: cells whose rows and columns have the same
// rest by the stride see the same taps, so no product is with a zero.
//
// Columns of B are places in an image, and each k is a step from there: to find where it leads takes divisions, so one
// thread does it for all columns.
#pragma once
#include "results.cuh"

struct Convolution {
  int batch, groups, channels, height, width, outputs, out_height, out_width;  // channels and outputs of one group
  int k, l, s, t, top, left, d, e;                                             // taps, stride, padding, dilation
  int share;                                                                   // of the sum over k, for each part
  int relu;                                                                    // after the bias
};

struct __align__(16) Step { int offset, u, v; };  // in memory, in rows and in columns
constexpr int OUTSIDE = -(1 << 30);               // of every image, whatever is added

// A column of B: its place, and the image that its steps may leave.
template <class T> struct Cells {
  typedef ::Step Step;
  const T *place;
  int image_height, image_width, u = OUTSIDE, v = OUTSIDE;
  __device__ Cells(const T *x, int height, int width) : place(x), image_height(height), image_width(width) {}
  static __device__ Step nowhere() { return {0, OUTSIDE, OUTSIDE}; }
  __device__ bool has(const Step &step) const {
    return (unsigned)(u + step.u) < (unsigned)image_height && (unsigned)(v + step.v) < (unsigned)image_width;
  }
  __device__ const T *at(const Step &step) const { return place + step.offset; }
  __device__ void go(const Step &step) {
    place += step.offset;
    keep(place);
    u = step.u;
    v = step.v;
  }
};

// Windows of x: rows (c,k,l), columns (n,i,j).
template <class T> struct Windows : Cells<T> {
  Convolution g;
  Divisor k, l, height, width;
  __device__ Windows(const T *x, const Convolution &c, int group)
      : Cells<T>(x + group * c.channels * c.height * c.width, c.height, c.width), g(c), k(c.k), l(c.l),
        height(c.out_height), width(c.out_width) {}
  __device__ Step tap(int c) const {
    int v = l.take(c) * g.e, u = k.take(c) * g.d;
    return {(c * g.height + u) * g.width + v, u, v};
  }
  __device__ Step window(int n) const {
    int v = width.take(n) * g.t - g.left, u = height.take(n) * g.s - g.top;
    return {(n * g.groups * g.channels * g.height + u) * g.width + v, u, v};
  }
  __device__ Step step(int c) const { return tap(c); }
  __device__ void column(int n) { this->go(window(n)); }
};

// The same windows, the other way round: rows (n,i,j), columns (c,k,l).
template <class T> struct TurnedWindows : Windows<T> {
  __device__ TurnedWindows(const T *x, const Convolution &c, int group) : Windows<T>(x, c, group) {}
  __device__ Step step(int n) const { return this->window(n); }
  __device__ void column(int c) { this->go(this->tap(c)); }
};

// The weight of a group: rows o, columns (c,k,l) as they lie.
template <class T> struct Weights {
  const T *w, *column;
  int length;
  __device__ Weights(const T *w_, const Convolution &c, int group) : length(c.channels * c.k * c.l) {
    w = w_ + group * c.outputs * length;
  }
  __device__ void along(int k) {
    column = w + k;
    keep(column);
  }
  __device__ const T *at(int m) const { return column + m * length; }
};

// dy of a group: rows o, columns (n,i,j).
template <class T> struct Slopes {
  const T *dy, *column;
  Divisor pixels;
  int channels;
  __device__ Slopes(const T *dy_, const Convolution &c, int group)
      : pixels(c.out_height * c.out_width), channels(c.groups * c.outputs) {
    dy = dy_ + group * c.outputs * pixels.divisor;
  }
  __device__ void along(int n) {
    int pixel = pixels.take(n);
    column = dy + n * channels * pixels.divisor + pixel;
    keep(column);
  }
  __device__ const T *at(int m) const { return column + m * pixels.divisor; }
};

// One axis of a phase of the input gradient: cells first, first + stride, ..; the taps that reach them are
// tap, tap + step, .., and of tap number a the output is `output - a * apart` for the first cell, and one more for each.
struct Phase {
  int cells, taps, tap, step, output, apart;
  __device__ Phase(int first, int length, int stride, int before, int dilation, int kernel) {
    cells = first < length ? (length - first - 1) / stride + 1 : 0;
    tap = 0;
    while (tap < kernel && (first + before - tap * dilation) % stride != 0) tap++;
    step = 1;
    while (step * dilation % stride != 0) step++;
    taps = tap < kernel ? (kernel - tap - 1) / step + 1 : 0;
    output = tap < kernel ? (first + before - tap * dilation) / stride : 0;
    apart = step * dilation / stride;
  }
};

// Weights as the input gradient sees them: rows c, columns (o, taps of the phase).
template <class T> struct PhaseWeights {
  const T *w, *column;
  Convolution g;
  Phase rows, columns;
  Divisor k, l;
  __device__ PhaseWeights(const T *w_, const Convolution &c, int group, const Phase &r, const Phase &q)
      : w(w_ + group * c.outputs * c.channels * c.k * c.l), g(c), rows(r), columns(q), k(max(1, r.taps)),
        l(max(1, q.taps)) {}
  __device__ void along(int o) {
    int b = columns.tap + l.take(o) * columns.step, a = rows.tap + k.take(o) * rows.step;
    column = w + (o * g.channels * g.k + a) * g.l + b;
    keep(column);
  }
  __device__ const T *at(int c) const { return column + c * g.k * g.l; }
};

// dy as the input gradient sees it: rows (o, taps of the phase), columns (n, cells of the phase).
template <class T> struct PhaseSlopes : Cells<T> {
  Convolution g;
  Phase rows, columns;
  Divisor k, l, height, width;
  __device__ PhaseSlopes(const T *dy, const Convolution &c, int group, const Phase &r, const Phase &q)
      : Cells<T>(dy + group * c.outputs * c.out_height * c.out_width, c.out_height, c.out_width), g(c), rows(r),
        columns(q), k(max(1, r.taps)), l(max(1, q.taps)), height(max(1, r.cells)), width(max(1, q.cells)) {}
  __device__ Step step(int o) const {
    int v = -l.take(o) * columns.apart, u = -k.take(o) * rows.apart;
    return {(o * g.out_height + u) * g.out_width + v, u, v};
  }
  __device__ void column(int n) {
    int v = width.take(n) + columns.output, u = height.take(n) + rows.output;
    this->go({(n * g.groups * g.outputs * g.out_height + u) * g.out_width + v, u, v});
  }
};

// Where results go: y [o, (n,i,j)] with a bias, dx [c, (n, cells of the phase)] with a bias, dw [o, (c,k,l)].
template <class T> struct ToOutput {
  T *y;
  const T *bias;
  Divisor pixels;
  int channels, relu;
  T *at;
  __device__ ToOutput(T *y_, const T *bias_, const Convolution &c, int group)
      : bias(bias_ ? bias_ + group * c.outputs : nullptr), pixels(c.out_height * c.out_width),
        channels(c.groups * c.outputs), relu(c.relu) {
    y = y_ + group * c.outputs * pixels.divisor;
  }
  __device__ void column(int n) {
    int pixel = pixels.take(n);
    at = y + n * channels * pixels.divisor + pixel;
  }
  __device__ bool packed() const { return in_packs(y, pixels.divisor); }
  template <class Sum> __device__ void store(int m, Sum sum) const {
    put(at + m * pixels.divisor, sum, bias ? bias[m] : T(0), relu);
  }
};

template <class T> struct ToInput {
  T *dx;
  const T *bias;
  Convolution g;
  int first_row, first_column;
  Divisor height, width;
  T *at;
  __device__ ToInput(T *dx_, const T *bias_, const Convolution &c, int group, int r, int q, const Phase &rows,
                     const Phase &columns)
      : dx(dx_ + group * c.channels * c.height * c.width), bias(bias_ ? bias_ + group * c.channels : nullptr), g(c),
        first_row(r), first_column(q), height(max(1, rows.cells)), width(max(1, columns.cells)) {}
  __device__ void column(int n) {
    int v = first_column + width.take(n) * g.t, u = first_row + height.take(n) * g.s;
    at = dx + (n * (g.groups * g.channels) * g.height + u) * g.width + v;
  }
  __device__ bool packed() const { return g.s * g.t == 1 && in_packs(dx, g.height * g.width); }
  template <class Sum> __device__ void store(int m, Sum sum) const {
    put(at + m * g.height * g.width, sum, bias ? bias[m] : T(0), g.relu);
  }
};

template <class T> struct ToWeights {
  T *dw;
  int length, n;
  __device__ ToWeights(T *dw_, const Convolution &c, int group) : length(c.channels * c.k * c.l) {
    dw = dw_ + group * c.outputs * length;
  }
  __device__ void column(int n_) { n = n_; }
  __device__ bool packed() const { return in_packs(dw, length); }
  template <class Sum> __device__ void store(int m, Sum sum) const { *(Sum *)(dw + m * length + n) = sum; }
};
