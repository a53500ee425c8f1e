// Softmax, its gradient and the cross-entropy. An axis lies in memory as [outer, length, inner]: with inner = 1 its
// lines are rows, and a group of WIDTH threads does one; else a thread does a line, and neighbours read neighbours.
#include "row.cuh"

template <class T, int WIDTH> __device__ T largest(const Row<T, WIDTH> &x) {
  T top = T(-INFINITY);
  x.each([&](int k, int i) { top = Largest()(top, x(k, i)); });
  return group_reduce<WIDTH, Largest>(top);
}

// exp(x - top) of a row: of the numbers in registers it is found once.
template <class T, int WIDTH> struct Powers {
  Row<T, WIDTH> row;
  T top;
  __device__ Powers(const Row<T, WIDTH> &x, T largest) : row(x), top(largest) {
    row.map([&](T number) { return exp(number - top); });
  }
  __device__ T operator()(int k, int i) const { return k < row.COUNT ? row.held[k] : exp(row.memory[i] - top); }
};

template <class T, int WIDTH> __global__ void softmax_rows(const T *x, T *y, int rows, int length) {
  int row = row_of_group();
  Row<T, WIDTH> in(x, row, rows, length);
  Powers<T, WIDTH> powers(in, largest(in));
  T factor = 1 / in.sum(powers);
  y += row * length;
  in.each([&](int k, int i) { y[i] = powers(k, i) * factor; });
}

template <class T, int WIDTH> __global__ void softmax_grad_rows(const T *dy, const T *y, T *dx, int rows, int length) {
  int row = row_of_group();
  Row<T, WIDTH> slope(dy, row, rows, length), chance(y, row, rows, length);
  T mean = chance.sum([&](int k, int i) { return chance(k, i) * slope(k, i); });
  dx += row * length;
  chance.each([&](int k, int i) { dx[i] = chance(k, i) * (slope(k, i) - mean); });
}

template <class T> __global__ void softmax_lines(const T *x, T *y, int lines, int length, int inner) {
  int line = thread_of_grid();
  if (line >= lines) return;
  int first = line / inner * length * inner + line % inner, end = first + length * inner;
  T top = T(-INFINITY), total = 0;
  for (int i = first; i < end; i += inner) top = Largest()(top, x[i]);
  for (int i = first; i < end; i += inner) total += exp(x[i] - top);
  for (int i = first; i < end; i += inner) y[i] = exp(x[i] - top) / total;
}

template <class T> __global__ void softmax_grad_lines(const T *dy, const T *y, T *dx, int lines, int length,
                                                      int inner) {
  int line = thread_of_grid();
  if (line >= lines) return;
  int first = line / inner * length * inner + line % inner, end = first + length * inner;
  T mean = 0;
  for (int i = first; i < end; i += inner) mean += y[i] * dy[i];
  for (int i = first; i < end; i += inner) dx[i] = y[i] * (dy[i] - mean);
}

// A target that is no class makes its row NaN: to refuse it, the host would have to wait for the device.
template <class T, int WIDTH> __global__ void cross_entropy(const T *z, const long long *target, T *loss, T *dz,
                                                            T smoothing, int rows, int classes) {
  int row = row_of_group();
  Row<T, WIDTH> in(z, row, rows, classes);
  long long right = row < rows ? target[row] : 0;
  bool known = 0 <= right && right < classes;
  T score = known && row < rows ? z[row * classes + right] : T(0), top = largest(in), shifted = 0;
  // 0 * -inf is a NaN, and an excluded class has a logit of -inf
  if (smoothing > 0) shifted = in.sum([&](int k, int i) { return in(k, i) - top; });
  Powers<T, WIDTH> powers(in, top);
  T total = in.sum(powers), share = smoothing / T(classes), factor = 1 / total;
  T wrong = known ? T(0) : T(INFINITY) - T(INFINITY);
  dz += row * classes;
  in.each([&](int k, int i) {
    dz[i] = powers(k, i) * factor - share - (i == right ? 1 - smoothing : T(0)) + wrong;
  });
  if (threadIdx.x == 0 && row < rows)
    loss[row] = log(total) - (1 - smoothing) * (score - top) - share * shifted + wrong;
}
