// The convolution trio as matrix products whose matrices are never made: where A, B and C have their numbers.
//
//   forward       y  [o, (n,i,j)]     = sum over (c,k,l)  w [o, (c,k,l)]    x windows [(c,k,l), (n,i,j)]
//   input grad    dx [c, (n,u,v)]     = sum over (o,k,l)  w [c, (o,k,l)]    dy        [(o,k,l), (n,u,v)]
//   weight grad   dw [o, (c,k,l)]     = sum over (n,i,j)  dy [o, (n,i,j)]   x windows [(n,i,j), (c,k,l)]
//
// all within one group. With a stride, the input gradient falls into phases: cells whose rows and columns have the same
// rest by the stride see the same taps, so no product is with a zero.
#pragma once

struct Convolution {
  int batch, groups, channels, height, width, outputs, out_height, out_width;  // channels and outputs of one group
  int k, l, s, t, top, left, d, e;                                             // taps, stride, padding, dilation
  int share;                                                                   // of the sum over k, for each part
};

// n / d by a multiplication; n below 2^31 (Granlund & Montgomery 1994).
struct Divisor {
  int divisor;
  unsigned multiplier, shift;
  __device__ explicit Divisor(int d) : divisor(d), shift(32 - __clz(d - 1)) {
    multiplier = (unsigned)((((1ull << shift) - d) << 32) / d) + 1;
  }
  __device__ int of(int n) const { return (int)((__umulhi((unsigned)n, multiplier) + (unsigned)n) >> shift); }
  // Leaves the quotient in n, and returns the rest.
  __device__ int take(int &n) const {
    int quotient = of(n), rest = n - quotient * divisor;
    n = quotient;
    return rest;
  }
};

// Windows of x: rows (c,k,l), columns (n,i,j).
template <class T> struct Windows {
  const T *x;
  Convolution g;
  Divisor k, l, height, width;
  const T *image;
  int u, v;
  __device__ Windows(const T *x_, const Convolution &c, int group)
      : x(x_ + group * c.channels * c.height * c.width), g(c), k(c.k), l(c.l), height(c.out_height), width(c.out_width) {}
  __device__ void column(int n) {
    int j = width.take(n), i = height.take(n);
    u = i * g.s - g.top;
    v = j * g.t - g.left;
    image = x + n * (g.groups * g.channels) * g.height * g.width;
  }
  __device__ const T *at(int c) const {
    int b = l.take(c), a = k.take(c), row = u + a * g.d, place = v + b * g.e;
    bool inside = row >= 0 && row < g.height && place >= 0 && place < g.width;
    return inside ? image + (c * g.height + row) * g.width + place : nullptr;
  }
};

// The same windows, the other way round: rows (n,i,j), columns (c,k,l).
template <class T> struct TurnedWindows {
  const T *x;
  Convolution g;
  Divisor k, l, height, width;
  int row, place;
  __device__ TurnedWindows(const T *x_, const Convolution &c, int group)
      : x(x_ + group * c.channels * c.height * c.width), g(c), k(c.k), l(c.l), height(c.out_height), width(c.out_width) {}
  __device__ void column(int c) {
    place = l.take(c) * g.e - g.left;
    row = k.take(c) * g.d - g.top;
    x += c * g.height * g.width;
  }
  __device__ const T *at(int n) const {
    int v = width.take(n) * g.t + place, u = height.take(n) * g.s + row;
    bool inside = u >= 0 && u < g.height && v >= 0 && v < g.width;
    return inside ? x + (n * (g.groups * g.channels) * g.height + u) * g.width + v : nullptr;
  }
};

// The weight of a group: rows o, columns (c,k,l) as they lie.
template <class T> struct Weights {
  const T *w;
  int length, column;
  __device__ Weights(const T *w_, const Convolution &c, int group) : length(c.channels * c.k * c.l) {
    w = w_ + group * c.outputs * length;
  }
  __device__ void along(int k) { column = k; }
  __device__ const T *at(int m) const { return w + m * length + column; }
  __device__ const T *origin() const { return w; }
};

// dy of a group: rows o, columns (n,i,j).
template <class T> struct Slopes {
  const T *dy;
  Divisor pixels;
  int channels, column;
  __device__ Slopes(const T *dy_, const Convolution &c, int group)
      : pixels(c.out_height * c.out_width), channels(c.groups * c.outputs) {
    dy = dy_ + group * c.outputs * pixels.divisor;
  }
  __device__ void along(int n) {
    int pixel = pixels.take(n);
    column = n * channels * pixels.divisor + pixel;
  }
  __device__ const T *at(int m) const { return dy + m * pixels.divisor + column; }
  __device__ const T *origin() const { return dy; }
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
  const T *w;
  Convolution g;
  Phase rows, columns;
  Divisor k, l;
  int offset;
  __device__ PhaseWeights(const T *w_, const Convolution &c, int group, const Phase &r, const Phase &q)
      : w(w_ + group * c.outputs * c.channels * c.k * c.l), g(c), rows(r), columns(q), k(max(1, r.taps)),
        l(max(1, q.taps)) {}
  __device__ void along(int o) {
    int b = columns.tap + l.take(o) * columns.step, a = rows.tap + k.take(o) * rows.step;
    offset = (o * g.channels * g.k + a) * g.l + b;
  }
  __device__ const T *at(int c) const { return w + offset + c * g.k * g.l; }
  __device__ const T *origin() const { return w; }
};

// dy as the input gradient sees it: rows (o, taps of the phase), columns (n, cells of the phase).
template <class T> struct PhaseSlopes {
  const T *dy;
  Convolution g;
  Phase rows, columns;
  Divisor k, l, height, width;
  const T *image;
  int i, j;
  __device__ PhaseSlopes(const T *dy_, const Convolution &c, int group, const Phase &r, const Phase &q)
      : dy(dy_ + group * c.outputs * c.out_height * c.out_width), g(c), rows(r), columns(q), k(max(1, r.taps)),
        l(max(1, q.taps)), height(max(1, r.cells)), width(max(1, q.cells)) {}
  __device__ void column(int n) {
    j = width.take(n) + columns.output;
    i = height.take(n) + rows.output;
    image = dy + n * (g.groups * g.outputs) * g.out_height * g.out_width;
  }
  __device__ const T *at(int o) const {
    int place = j - l.take(o) * columns.apart, row = i - k.take(o) * rows.apart;
    bool inside = row >= 0 && row < g.out_height && place >= 0 && place < g.out_width;
    return inside ? image + (o * g.out_height + row) * g.out_width + place : nullptr;
  }
};

// Where results go: y [o, (n,i,j)] with a bias, dx [c, (n, cells of the phase)] with a bias, dw [o, (c,k,l)].
template <class T> struct ToOutput {
  T *y;
  const T *bias;
  Divisor pixels;
  int channels;
  T *at;
  __device__ ToOutput(T *y_, const T *bias_, const Convolution &c, int group)
      : bias(bias_ ? bias_ + group * c.outputs : nullptr), pixels(c.out_height * c.out_width),
        channels(c.groups * c.outputs) {
    y = y_ + group * c.outputs * pixels.divisor;
  }
  __device__ void column(int n) {
    int pixel = pixels.take(n);
    at = y + n * channels * pixels.divisor + pixel;
  }
  __device__ void store(int m, T sum) const { at[m * pixels.divisor] = sum + (bias ? bias[m] : T(0)); }
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
  __device__ void store(int m, T sum) const { at[m * g.height * g.width] = sum + (bias ? bias[m] : T(0)); }
};

template <class T> struct ToWeights {
  T *dw;
  int length, n;
  __device__ ToWeights(T *dw_, const Convolution &c, int group) : length(c.channels * c.k * c.l) {
    dw = dw_ + group * c.outputs * length;
  }
  __device__ void column(int n_) { n = n_; }
  __device__ void store(int m, T sum) const { dw[m * length + n] = sum; }
};
