// The gradients of normalize.cu: dx, dweight and dbias.
#include "normalize.cuh"
#include "sum_parts.cuh"

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

// The gradient of rows that registers hold whole; g(cell, k, dy) weighs a thread's k-th number of a row, and use(k, dy,
// x^) is called for it. Returns the row's sums.
template <class T, int WIDTH> struct RowGrad {
  const T *dy, *x, *mean, *inv_std, *s, *weight;
  T *dx;
  const Affine &a;
  int centred, rows, length;

  template <class G, class Use> __device__ Sums<T> of(int row, G g, Use use) const {
    int known = min(row, rows - 1);
    Slopes<T> cell(mean, inv_std, weight, a, known);
    Row<T, WIDTH> slope(dy, row, rows, length), in(x, row, rows, length);
    in.map([&](int, T number) { return cell.hat(number); });
    in.each([&](int k, int i) { use(k, slope(k, i), in(k, i)); });
    slope.map([&](int k, T number) { return g(cell, k, number); });
    Sums<T> all;
    in.each([&](int k, int i) { all.add(slope(k, i), in(k, i)); });
    all = all.template gathered<WIDTH>();
    T g_mean = centred ? all.sum / T(length) : T(0), correlation = all.product / T(length);
    T factor = factor_of(s, weight, a, known), *out = dx + in.first;
    in.each([&](int k, int i) { out[i] = factor * (slope(k, i) - g_mean - in(k, i) * correlation); });
    return all;
  }
};

// The sums are stored where they are asked for.
template <class T, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS<WIDTH>, room_for_rows<T, WIDTH>(1280))
grad_rows(const T *dy, const T *x, const T *mean, const T *inv_std, const T *s, const T *weight, T *sums, T *dx,
          Affine a, int centred, int rows, int length) {
  int row = row_of_group();
  RowGrad<T, WIDTH> grad{dy, x, mean, inv_std, s, weight, dx, a, centred, rows, length};
  auto g = [&](const Slopes<T> &cell, int k, T slope) {
    return cell.g(slope, min((int)threadIdx.x + k * WIDTH, length - 1));
  };
  Sums<T> all = grad.of(row, g, [](int, T, T) {});
  if (sums && threadIdx.x == 0 && row < rows) ((Sums<T> *)sums)[row] = all;
}

// Where each place of a row has a weight: a block does several rows, and sums on the way what the weights need, parts
// [gridDim.x, 2, length] of dweight and dbias.
template <class T, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS<WIDTH>, room_for_rows<T, WIDTH>(1024))
grad_rows_by_place(const T *dy, const T *x, const T *mean, const T *inv_std, const T *s, const T *weight, T *part,
                   T *dx, Affine a, int centred, int rows, int length) {
  constexpr int COUNT = Row<T, WIDTH>::COUNT, GROUPS = WIDTH > 32 ? 1 : 256 / WIDTH, PLACES = COUNT * WIDTH;
  RowGrad<T, WIDTH> grad{dy, x, mean, inv_std, s, weight, dx, a, centred, rows, length};
  Row<T, WIDTH> weights(weight, 0, 1, length);
  Sums<T> own[COUNT];
  for (int first = blockIdx.x * GROUPS; first < rows; first += gridDim.x * GROUPS)
    grad.of(
        first + threadIdx.y, [&](const Slopes<T> &, int k, T slope) { return weights.held[k] * slope; },
        [&](int k, T slope, T hat) {
          if (k < COUNT) own[k].add(slope, hat);
        });
  part += blockIdx.x * 2 * length;
  if constexpr (GROUPS == 1) {
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
      int i = threadIdx.x + k * WIDTH;
      if (i >= length) break;
      part[i] = own[k].product;
      part[length + i] = own[k].sum;
    }
  } else {
    __shared__ Sums<T> of_groups[GROUPS][PLACES];
#pragma unroll
    for (int k = 0; k < COUNT; k++) of_groups[threadIdx.y][threadIdx.x + k * WIDTH] = own[k];
    __syncthreads();
    int i = threadIdx.y * WIDTH + threadIdx.x;
    if (i >= length) return;
    Sums<T> all;
    for (int group = 0; group < GROUPS; group++) all.add(of_groups[group][i]);
    part[i] = all.product;
    part[length + i] = all.sum;
  }
}

// Number i of those that belong to weight `which` of `count`, each of which has runs of this length.
__device__ inline int nth(int i, const Divisor &run, int count, int which) {
  int rest = run.take(i);
  return (i * count + which) * run.divisor + rest;
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
