// Normalisation over [outer, cells, inner]: each cell has its own mean and variance, over outer and inner. Batch norm
// of [N,C,H,W] has outer N, cells C, inner H*W; layer norm has outer 1. A cell is cut into pieces, one block each.
#include "reduce.cuh"
#include "sum_parts.cuh"

struct Layout { int outer, cells, inner; };

// Which weight belongs to a cell and a place along inner: along each of the two, `count` weights repeat, each for a run.
struct Affine { int cell_run, cell_count, inner_run, inner_count; };

__device__ inline int affine_index(const Affine &a, int cell, int place) {
  return cell / a.cell_run % a.cell_count * a.inner_count + place / a.inner_run % a.inner_count;
}

// A block's share of its cell, as numbers first to last of outer * inner.
struct Piece { int first, last; };

__device__ inline Piece piece_of(const Layout &at, int piece, int pieces) {
  int count = at.outer * at.inner, size = (count + pieces - 1) / pieces;
  return {min(count, piece * size), min(count, (piece + 1) * size)};
}

// Visit the numbers of the block's piece: visit(index into x, place along inner).
template <class Visit> __device__ void for_piece(const Layout &at, Visit visit) {
  Piece piece = piece_of(at, blockIdx.y, gridDim.y);
  for (int i = piece.first + threadIdx.x; i < piece.last; i += 256)
    visit((i / at.inner * at.cells + blockIdx.x) * at.inner + i % at.inner, i % at.inner);
}

// Mean and sum of squared deviations of each piece [pieces, cells].
template <class T> __global__ void moments(const T *x, T *mean, T *squares, Layout at) {
  Piece piece = piece_of(at, blockIdx.y, gridDim.y);
  T sum = 0, square = 0;
  for_piece(at, [&](int i, int) { sum += x[i]; });
  T m = group_reduce<256, Sum>(sum) / T(max(1, piece.last - piece.first));
  for_piece(at, [&](int i, int) { square += (x[i] - m) * (x[i] - m); });
  square = group_reduce<256, Sum>(square);
  if (threadIdx.x != 0) return;
  mean[blockIdx.y * at.cells + blockIdx.x] = m;
  squares[blockIdx.y * at.cells + blockIdx.x] = square;
}

// The statistics of all cells from those of their pieces (Chan, Golub & LeVeque 1983). Not centred: squares about 0.
template <class T> __global__ void statistics(const T *means, const T *squares, T *mean, T *var, T *inv_std, Layout at,
                                              int pieces, T eps, int centred) {
  int cell = thread_of_grid();
  if (cell >= at.cells) return;
  T m = 0, square = 0, seen = 0;
  for (int p = 0; p < pieces; p++) {
    Piece piece = piece_of(at, p, pieces);
    T count = T(piece.last - piece.first);
    if (count == 0) continue;
    T gap = means[p * at.cells + cell] - m;
    square += squares[p * at.cells + cell] + gap * gap * seen * (count / (seen + count));
    m += gap * (count / (seen + count));
    seen += count;
  }
  T v = square / seen + (centred ? T(0) : m * m);
  mean[cell] = m;
  var[cell] = v;
  inv_std[cell] = 1 / sqrt(v + eps);
}

// y = weight x^ + bias
template <class T> __global__ void scale(const T *x, const T *mean, const T *inv_std, const T *weight, const T *bias, T *y,
                                         Layout at, Affine a, int centred) {
  T m = centred ? mean[blockIdx.x] : T(0), s = inv_std[blockIdx.x];
  for_piece(at, [&](int i, int place) {
    T x_hat = (x[i] - m) * s;
    int j = affine_index(a, blockIdx.x, place);
    y[i] = (weight ? weight[j] * x_hat : x_hat) + (bias ? bias[j] : T(0));
  });
}

// x^ of a number: it is given itself where there is no mean, else x.
template <class T> __device__ T hat(const T *x, int i, const T *mean, const T *inv_std) {
  return inv_std ? (x[i] - (mean ? mean[blockIdx.x] : T(0))) * inv_std[blockIdx.x] : x[i];
}

// Sums of g = weight dy and of x^ g over each piece [pieces, cells].
template <class T> __global__ void grad_sums(const T *dy, const T *x, const T *mean, const T *inv_std, const T *weight,
                                             T *sums, T *products, Layout at, Affine a) {
  T sum = 0, product = 0;
  for_piece(at, [&](int i, int place) {
    T g = weight ? weight[affine_index(a, blockIdx.x, place)] * dy[i] : dy[i];
    sum += g;
    product += hat(x, i, mean, inv_std) * g;
  });
  sum = group_reduce<256, Sum>(sum);
  product = group_reduce<256, Sum>(product);
  if (threadIdx.x != 0) return;
  sums[blockIdx.y * at.cells + blockIdx.x] = sum;
  products[blockIdx.y * at.cells + blockIdx.x] = product;
}

// dx = P g = s (g - mean g - x^ mean(x^ g)); `s` is the inverse deviation, also where x^ is given itself.
template <class T> __global__ void grad(const T *dy, const T *x, const T *mean, const T *inv_std, const T *s,
                                        const T *weight, const T *sums, const T *products, T *dx, Layout at, Affine a,
                                        int pieces, int centred) {
  T sum = 0, product = 0, count = T(at.outer * at.inner);
  for (int p = 0; p < pieces; p++) {
    sum += sums[p * at.cells + blockIdx.x];
    product += products[p * at.cells + blockIdx.x];
  }
  T g_mean = centred ? sum / count : T(0), correlation = product / count, factor = s[blockIdx.x];
  for_piece(at, [&](int i, int place) {
    T g = weight ? weight[affine_index(a, blockIdx.x, place)] * dy[i] : dy[i];
    dx[i] = factor * (g - g_mean - hat(x, i, mean, inv_std) * correlation);
  });
}

// Number i of those that belong to weight `which` of `count`, each of which has runs of this length.
__device__ inline int nth(int i, int run, int count, int which) { return (i / run * count + which) * run + i % run; }

// dweight and dbias in parts [gridDim.y, weights]: a block sums what belongs to one weight, over a share of the rows,
// which are the outer places times the weight's cells.
template <class T> __global__ void affine_sums(const T *dy, const T *x, const T *mean, const T *inv_std, T *dweight,
                                               T *dbias, Layout at, Affine a, int weights) {
  int own_cell = blockIdx.x / a.inner_count, own_place = blockIdx.x % a.inner_count;
  int cells = at.cells / a.cell_count, width = at.inner / a.inner_count, rows = at.outer * cells;
  int share = (rows + gridDim.y - 1) / gridDim.y, first = min(rows, (int)blockIdx.y * share), last = min(rows, first + share);
  T weight_sum = 0, bias_sum = 0;
  for (int i = first * width + threadIdx.x; i < last * width; i += 256) {
    int row = i / width, cell = nth(row % cells, a.cell_run, a.cell_count, own_cell);
    int j = (row / cells * at.cells + cell) * at.inner + nth(i % width, a.inner_run, a.inner_count, own_place);
    weight_sum += dy[j] * (x[j] - (mean ? mean[cell] : T(0))) * inv_std[cell];
    bias_sum += dy[j];
  }
  weight_sum = group_reduce<256, Sum>(weight_sum);
  bias_sum = group_reduce<256, Sum>(bias_sum);
  if (threadIdx.x != 0) return;
  dweight[blockIdx.y * weights + blockIdx.x] = weight_sum;
  dbias[blockIdx.y * weights + blockIdx.x] = bias_sum;
}

// The same where each place along inner has a weight, as in layer norm: 32 neighbours share a block, so that the reads
// of a warp are neighbours too.
template <class T> __global__ void affine_columns(const T *dy, const T *x, const T *mean, const T *inv_std, T *dweight,
                                                  T *dbias, Layout at) {
  __shared__ T sums[2][8][32];
  int rows = at.outer * at.cells, place = blockIdx.x * 32 + threadIdx.x;
  T weight_sum = 0, bias_sum = 0;
  for (int row = blockIdx.y * 8 + threadIdx.y; row < rows && place < at.inner; row += gridDim.y * 8) {
    int cell = row % at.cells, j = row * at.inner + place;
    weight_sum += dy[j] * (x[j] - (mean ? mean[cell] : T(0))) * inv_std[cell];
    bias_sum += dy[j];
  }
  sums[0][threadIdx.y][threadIdx.x] = weight_sum;
  sums[1][threadIdx.y][threadIdx.x] = bias_sum;
  __syncthreads();
  if (threadIdx.y >= 2 || place >= at.inner) return;
  T sum = 0;
  for (int i = 0; i < 8; i++) sum += sums[threadIdx.y][i][threadIdx.x];
  (threadIdx.y ? dbias : dweight)[blockIdx.y * at.inner + place] = sum;
}
