// Softmax, its gradient and the cross-entropy: a group of WIDTH threads does a row. The axis lies in memory as
// [outer, length, inner].
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
    row.map([&](int, T number) { return exp(number - top); });
  }
  __device__ T operator()(int k, int i) const { return k < row.COUNT ? row.held[k] : exp(row(k, i) - top); }
};

template <class T, int WIDTH> __device__ void forward(const Row<T, WIDTH> &x, T *y) {
  Powers<T, WIDTH> powers(x, largest(x));
  T factor = 1 / x.sum(powers);
  y += x.first;
  x.each([&](int k, int i) { y[x.at(i)] = powers(k, i) * factor; });
}

template <class T, int WIDTH> __device__ void backward(const Row<T, WIDTH> &dy, const Row<T, WIDTH> &y, T *dx) {
  T mean = y.sum([&](int k, int i) { return y(k, i) * dy(k, i); });
  dx += y.first;
  y.each([&](int k, int i) { dx[y.at(i)] = y(k, i) * (dy(k, i) - mean); });
}

template <class T, int WIDTH> __global__ void softmax_rows(const T *x, T *y, int rows, int length) {
  forward(Row<T, WIDTH>(x, row_of_group(), rows, length), y);
}

template <class T, int WIDTH> __global__ void softmax_lines(const T *x, T *y, int inner, int rows, int length) {
  forward(Row<T, WIDTH>(x, row_of_group(), rows, length, inner), y);
}

template <class T, int WIDTH>
__global__ void __launch_bounds__(ROW_THREADS<WIDTH>, room_for_rows<T, WIDTH>(1536))
softmax_grad_rows(const T *dy, const T *y, T *dx, int rows, int length) {
  int row = row_of_group();
  backward(Row<T, WIDTH>(dy, row, rows, length), Row<T, WIDTH>(y, row, rows, length), dx);
}

template <class T, int WIDTH> __global__ void softmax_grad_lines(const T *dy, const T *y, T *dx, int inner, int rows,
                                                                 int length) {
  int row = row_of_group();
  backward(Row<T, WIDTH>(dy, row, rows, length, inner), Row<T, WIDTH>(y, row, rows, length, inner), dx);
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
  dz += in.first;
  in.each([&](int k, int i) {
    dz[i] = powers(k, i) * factor - share - (i == right ? 1 - smoothing : T(0)) + wrong;
  });
  if (threadIdx.x == 0 && row < rows)
    loss[row] = log(total) - (1 - smoothing) * (score - top) - share * shifted + wrong;
}
