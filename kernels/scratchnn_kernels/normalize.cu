// Normalisation over [outer, cells, inner]: each cell has its own mean and variance, over outer and inner. Batch norm
// of [N,C,H,W] has outer N, cells C, inner H*W; layer norm has outer 1. A cell that lies together and is short is a
// row, see row.cuh, and read once. Others are cut into pieces, one block each, and read twice.
#include "row.cuh"
#include "sum_parts.cuh"

struct Layout {
  int outer;
  Divisor cells, inner;
};

// Which weight belongs to a cell and a place along inner: along both, `count` weights repeat, each for a run.
struct Affine {
  Divisor cell_run, cell_count, inner_run, inner_count;
  // The first weight of a cell, and how far from there the weight of a place is.
  __device__ int of_cell(int cell) const {
    cell = cell_run.of(cell);
    return cell_count.take(cell) * inner_count.divisor;
  }
  __device__ int of_place(int place) const {
    place = inner_run.of(place);
    return inner_count.take(place);
  }
  __device__ bool one_weight() const { return inner_count.divisor == 1; }  // for all numbers of a cell
};

// Number i of those that belong to weight `which` of `count`, each of which has runs of this length.
__device__ inline int nth(int i, const Divisor &run, int count, int which) {
  int rest = run.take(i);
  return (i * count + which) * run.divisor + rest;
}

// A block's share of its cell, numbers first to last of outer * inner. A thread takes SIZE at a time: neighbours where
// they are one load, else 256 apart, so that those of a warp are neighbours.
template <class T> struct Piece {
  static constexpr int SIZE = Pack<T>::SIZE, STEP = 256 * SIZE;
  Layout at;
  bool packed;
  int first, last;

  __device__ Piece(const Layout &layout, bool arrays_aligned)
      : at(layout), packed(arrays_aligned && layout.inner.divisor % SIZE == 0) {
    int count = at.outer * at.inner.divisor, packs = (count + SIZE - 1) / SIZE;
    int share = (packs + gridDim.y - 1) / gridDim.y * SIZE;
    first = min(count, (int)blockIdx.y * share);
    last = min(count, first + share);
  }
  __device__ int begin() const { return first + threadIdx.x * (packed ? SIZE : 1); }
  __device__ int number(int i, int j) const { return i + j * (packed ? 1 : 256); }
  __device__ int index(int i) const {
    int place = at.inner.take(i);
    return (i * at.cells.divisor + blockIdx.x) * at.inner.divisor + place;
  }
  __device__ int place(int i, int j) const {
    int n = number(i, j);
    return at.inner.take(n);
  }

  // visit(j) for those of the SIZE numbers from i that there are; load makes the others 0.
  template <class Visit> __device__ void each(int i, Visit visit) const {
    for (int j = 0; j < SIZE; j++)
      if (number(i, j) < last) visit(j);
  }
  __device__ Pack<T> load(const T *x, int i) const {
    Pack<T> held = {};
    if (!packed) each(i, [&](int j) { held.value[j] = x[index(number(i, j))]; });
    else if (i < last) held = *(const Pack<T> *)(x + index(i));
    return held;
  }
  __device__ void store(T *y, int i, const Pack<T> &held) const {
    if (packed) *(Pack<T> *)(y + index(i)) = held;
    else each(i, [&](int j) { y[index(number(i, j))] = held.value[j]; });
  }
};

// How many numbers, their sum, and the sum of their squared deviations from their mean.
template <class T> struct Moments {
  T count = 0, sum = 0, square = 0;

  // Those of other numbers too (Chan, Golub & LeVeque 1983).
  __device__ void add(const Moments &other) {
    if (other.count == 0) return;
    T gap = count ? other.sum / other.count - sum / count : T(0);
    square += other.square + gap * gap * count * (other.count / (count + other.count));
    sum += other.sum;
    count += other.count;
  }
  // Those of all threads of the block.
  __device__ Moments gathered() const {
    Moments all;
    all.count = group_reduce<256, Sum>(count);
    all.sum = group_reduce<256, Sum>(sum);
    T gap = count ? sum / count - all.sum / all.count : T(0);
    all.square = group_reduce<256, Sum>(square + gap * gap * count);
    return all;
  }
};

// Of each piece [cells, pieces]. A thread reads some numbers into registers, and only there looks at them twice.
template <class T> __global__ void moments(const T *x, T *of_pieces, Layout at) {
  constexpr int PACKS = 4;
  Piece<T> piece(at, aligned(x));
  Moments<T> all;
  for (int start = piece.begin(); start < piece.last; start += PACKS * piece.STEP) {
    Pack<T> held[PACKS];
    Moments<T> some;
    for (int k = 0; k < PACKS; k++) held[k] = piece.load(x, start + k * piece.STEP);
    for (int k = 0; k < PACKS; k++)
      piece.each(start + k * piece.STEP, [&](int j) {
        some.count += 1;
        some.sum += held[k].value[j];
      });
    T mean = some.sum / some.count;
    for (int k = 0; k < PACKS; k++)
      piece.each(start + k * piece.STEP, [&](int j) {
        T gap = held[k].value[j] - mean;
        some.square += gap * gap;
      });
    all.add(some);
  }
  all = all.gathered();
  if (threadIdx.x == 0) ((Moments<T> *)of_pieces)[blockIdx.x * gridDim.y + blockIdx.y] = all;
}

// Of a cell. Not centred: the variance is about 0.
template <class T> struct Statistics {
  T mean, var, inv_std;
  __device__ Statistics(const Moments<T> &m, T eps, int centred)
      : mean(m.sum / m.count), var(m.square / m.count + (centred ? T(0) : mean * mean)), inv_std(1 / sqrt(var + eps)) {}
  __device__ void store(T *means, T *vars, T *inv_stds, int cell) const {
    means[cell] = mean;
    vars[cell] = var;
    inv_stds[cell] = inv_std;
  }
};

// y = weight x^ + bias in a cell. Its only weight is a part of the factor.
template <class T> struct Line {
  T mean, factor, shift = 0;
  const T *weight = nullptr, *bias = nullptr;
  const Affine &a;

  __device__ Line(const Statistics<T> &s, const T *weights, const T *biases, const Affine &affine, int cell,
                  int centred)
      : mean(centred ? s.mean : T(0)), factor(s.inv_std), a(affine) {
    int first = a.of_cell(cell);
    if (a.one_weight()) {
      if (weights) factor *= weights[first];
      if (biases) shift = biases[first];
    } else {
      if (weights) weight = weights + first;
      if (biases) bias = biases + first;
    }
  }
  __device__ T y(T x, int place) const {
    T x_hat = (x - mean) * factor;
    if (!weight) return x_hat + shift;
    int j = a.of_place(place);
    return weight[j] * x_hat + (bias ? bias[j] : T(0));
  }
};

template <class T> __global__ void scale(const T *x, const T *of_pieces, const T *weight, const T *bias, T *y, T *mean,
                                         T *var, T *inv_std, Layout at, Affine a, T eps, int centred) {
  Moments<T> all;
  for (int p = threadIdx.x; p < gridDim.y; p += 256)
    all.add(((const Moments<T> *)of_pieces)[blockIdx.x * gridDim.y + p]);
  Statistics<T> cell(all.gathered(), eps, centred);
  if (blockIdx.y == 0 && threadIdx.x == 0) cell.store(mean, var, inv_std, blockIdx.x);
  Line<T> line(cell, weight, bias, a, blockIdx.x, centred);
  Piece<T> piece(at, aligned(x) && aligned(y));
  for (int i = piece.begin(); i < piece.last; i += piece.STEP) {
    Pack<T> held = piece.load(x, i);
    for (int j = 0; j < piece.SIZE; j++) held.value[j] = line.y(held.value[j], piece.place(i, j));
    piece.store(y, i, held);
  }
}

template <class T, int WIDTH> __global__ void normalize_rows(const T *x, const T *weight, const T *bias, T *y, T *mean,
                                                             T *var, T *inv_std, Affine a, T eps, int centred,
                                                             int rows, int length) {
  int row = row_of_group();
  Row<T, WIDTH> in(x, row, rows, length);
  Moments<T> all;
  all.count = T(length);
  all.sum = in.sum([&](int k, int i) { return in(k, i); });
  T middle = all.sum / all.count;
  all.square = in.sum([&](int k, int i) { return (in(k, i) - middle) * (in(k, i) - middle); });
  Statistics<T> cell(all, eps, centred);
  if (threadIdx.x == 0 && row < rows) cell.store(mean, var, inv_std, row);
  Line<T> line(cell, weight, bias, a, row, centred);
  y += row * length;
  in.each([&](int k, int i) { y[i] = line.y(in(k, i), i); });
}

// What the gradient dx = s (g - mean g - x^ mean(x^ g)) of a cell is made of: g = weight dy, but for the cell's only
// weight, which is left to the end; and x^, which is x itself where no deviation is given.
template <class T> struct Slopes {
  T mean, inv_std;
  const T *weight;
  const Affine &a;

  __device__ Slopes(const T *means, const T *inv_stds, const T *weights, const Affine &affine, int cell)
      : mean(means ? means[cell] : T(0)), inv_std(inv_stds ? inv_stds[cell] : T(1)),
        weight(weights && !affine.one_weight() ? weights + affine.of_cell(cell) : nullptr), a(affine) {}
  __device__ T hat(T x) const { return (x - mean) * inv_std; }
  __device__ T g(T dy, int place) const { return weight ? weight[a.of_place(place)] * dy : dy; }
};

// The inverse deviation of a cell, times its only weight.
template <class T> __device__ T factor_of(const T *s, const T *weight, const Affine &a, int cell) {
  return weight && a.one_weight() ? s[cell] * weight[a.of_cell(cell)] : s[cell];
}

// Sums of x^ g and of g.
template <class T> struct Sums {
  T product = 0, sum = 0;
  __device__ void add(T g, T x_hat) {
    product += x_hat * g;
    sum += g;
  }
  __device__ void add(const Sums &others) {
    product += others.product;
    sum += others.sum;
  }
  template <int WIDTH> __device__ Sums gathered() const {
    Sums all;
    all.product = group_reduce<WIDTH, Sum>(product);
    all.sum = group_reduce<WIDTH, Sum>(sum);
    return all;
  }
};

// Of each piece [cells, pieces].
template <class T> __global__ void grad_sums(const T *dy, const T *x, const T *mean, const T *inv_std, const T *weight,
                                             T *sums, Layout at, Affine a) {
  Slopes<T> cell(mean, inv_std, weight, a, blockIdx.x);
  Piece<T> piece(at, aligned(dy) && aligned(x));
  Sums<T> all;
  for (int i = piece.begin(); i < piece.last; i += piece.STEP) {
    Pack<T> slope = piece.load(dy, i), held = piece.load(x, i);
    piece.each(i, [&](int j) { all.add(cell.g(slope.value[j], piece.place(i, j)), cell.hat(held.value[j])); });
  }
  all = all.template gathered<256>();
  if (threadIdx.x == 0) ((Sums<T> *)sums)[blockIdx.x * gridDim.y + blockIdx.y] = all;
}

template <class T> __global__ void grad(const T *dy, const T *x, const T *mean, const T *inv_std, const T *s,
                                        const T *weight, const T *sums, T *dx, Layout at, Affine a, int centred) {
  Sums<T> all;
  for (int p = threadIdx.x; p < gridDim.y; p += 256)
    all.add(((const Sums<T> *)sums)[blockIdx.x * gridDim.y + p]);
  all = all.template gathered<256>();
  Slopes<T> cell(mean, inv_std, weight, a, blockIdx.x);
  T count = T(at.outer * at.inner.divisor), factor = factor_of(s, weight, a, blockIdx.x);
  T g_mean = centred ? all.sum / count : T(0), correlation = all.product / count;
  Piece<T> piece(at, aligned(dy) && aligned(x) && aligned(dx));
  for (int i = piece.begin(); i < piece.last; i += piece.STEP) {
    Pack<T> slope = piece.load(dy, i), held = piece.load(x, i);
    for (int j = 0; j < piece.SIZE; j++) {
      T g = cell.g(slope.value[j], piece.place(i, j));
      slope.value[j] = factor * (g - g_mean - cell.hat(held.value[j]) * correlation);
    }
    piece.store(dx, i, slope);
  }
}

// Sums and dx of a row; the sums are stored where they are asked for.
template <class T, int WIDTH> __global__ void grad_rows(const T *dy, const T *x, const T *mean, const T *inv_std,
                                                        const T *s, const T *weight, T *sums, T *dx, Affine a,
                                                        int centred, int rows, int length) {
  int row = row_of_group(), known = min(row, rows - 1);
  Row<T, WIDTH> slope(dy, row, rows, length), in(x, row, rows, length);
  Slopes<T> cell(mean, inv_std, weight, a, known);
  Sums<T> all;
  in.each([&](int k, int i) { all.add(cell.g(slope(k, i), i), cell.hat(in(k, i))); });
  all = all.template gathered<WIDTH>();
  if (sums && threadIdx.x == 0 && row < rows) ((Sums<T> *)sums)[row] = all;
  T g_mean = centred ? all.sum / T(length) : T(0), correlation = all.product / T(length);
  T factor = factor_of(s, weight, a, known);
  dx += row * length;
  in.each([&](int k, int i) {
    dx[i] = factor * (cell.g(slope(k, i), i) - g_mean - cell.hat(in(k, i)) * correlation);
  });
}

// dweight and dbias where a cell has one weight: from the sums of the pieces [cells, pieces] of its cells.
template <class T> __global__ void cells_affine(const T *sums, T *dweight, T *dbias, Affine a, int cells, int pieces) {
  Sums<T> all;
  int own = cells / a.cell_count.divisor;
  for (int i = threadIdx.x; i < own * pieces; i += 256) {
    int cell = nth(i / pieces, a.cell_run, a.cell_count.divisor, blockIdx.x);
    all.add(((const Sums<T> *)sums)[cell * pieces + i % pieces]);
  }
  all = all.template gathered<256>();
  if (threadIdx.x != 0) return;
  dweight[blockIdx.x] = all.product;
  dbias[blockIdx.x] = all.sum;
}

// Parts of dweight and dbias [gridDim.y, 2, weights]: a block sums what belongs to one weight, over a share of the
// rows, which are the outer places times the weight's cells.
template <class T> __global__ void affine_sums(const T *dy, const T *x, const T *mean, const T *inv_std, T *sums,
                                               Layout at, Affine a) {
  int own_cell = blockIdx.x / a.inner_count.divisor, own_place = blockIdx.x % a.inner_count.divisor;
  Divisor cells(at.cells.divisor / a.cell_count.divisor), width(at.inner.divisor / a.inner_count.divisor);
  int rows = at.outer * cells.divisor, share = (rows + gridDim.y - 1) / gridDim.y;
  int first = min(rows, (int)blockIdx.y * share), last = min(rows, first + share);
  Sums<T> all;
#pragma unroll 4
  for (int i = first * width.divisor + threadIdx.x; i < last * width.divisor; i += 256) {
    int outer = i, place = nth(width.take(outer), a.inner_run, a.inner_count.divisor, own_place);
    int cell = nth(cells.take(outer), a.cell_run, a.cell_count.divisor, own_cell);
    int j = (outer * at.cells.divisor + cell) * at.inner.divisor + place;
    all.add(dy[j], (x[j] - (mean ? mean[cell] : T(0))) * inv_std[cell]);
  }
  all = all.template gathered<256>();
  if (threadIdx.x != 0) return;
  sums[2 * blockIdx.y * gridDim.x + blockIdx.x] = all.product;
  sums[(2 * blockIdx.y + 1) * gridDim.x + blockIdx.x] = all.sum;
}

// The same where each place along inner has a weight, as in layer norm: 32 neighbours share a block, so that the reads
// of a warp are neighbours too.
template <class T> __global__ void affine_columns(const T *dy, const T *x, const T *mean, const T *inv_std, T *sums,
                                                  Layout at) {
  __shared__ T shares[2][8][32];
  int inner = at.inner.divisor, place = blockIdx.x * 32 + threadIdx.x;
  int rows = place < inner ? at.outer * at.cells.divisor : 0;
  Sums<T> all;
#pragma unroll 4
  for (int row = blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8) {
    int outer = row, cell = at.cells.take(outer), j = row * inner + place;
    all.add(dy[j], (x[j] - (mean ? mean[cell] : T(0))) * inv_std[cell]);
  }
  shares[0][threadIdx.y][threadIdx.x] = all.product;
  shares[1][threadIdx.y][threadIdx.x] = all.sum;
  __syncthreads();
  if (threadIdx.y >= 2 || place >= inner) return;
  T sum = 0;
  for (int i = 0; i < 8; i++) sum += shares[threadIdx.y][i][threadIdx.x];
  sums[(2 * blockIdx.y + threadIdx.y) * inner + place] = sum;
}
