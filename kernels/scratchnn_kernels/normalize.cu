// y = weight (x - mean) / sqrt(var + eps) + bias in each cell, see normalize.cuh.
#include "normalize.cuh"

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
