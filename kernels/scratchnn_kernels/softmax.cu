// Softmax, its gradient and the cross-entropy. An axis lies in memory as [outer, length, inner]: with inner = 1 its lines
// are rows, and a group of WIDTH threads does one; else a thread does a line, and neighbours read neighbouring numbers.
#include "reduce.cuh"

template <int WIDTH> __device__ int row_of_group() { return blockIdx.x * blockDim.y + threadIdx.y; }

template <int WIDTH, class T> __device__ T largest_of_row(const T *x, int length) {
  T top = T(-INFINITY);
  for (int i = threadIdx.x; i < length; i += WIDTH) top = Largest()(top, x[i]);
  return group_reduce<WIDTH, Largest>(top);
}

template <int WIDTH, class T> __device__ T sum_of_exponentials(const T *x, int length, T top) {
  T total = 0;
  for (int i = threadIdx.x; i < length; i += WIDTH) total += exp(x[i] - top);
  return group_reduce<WIDTH, Sum>(total);
}

template <class T, int WIDTH> __global__ void softmax_rows(const T *x, T *y, int rows, int length) {
  int row = row_of_group<WIDTH>();
  if (row >= rows) return;
  x += row * length;
  y += row * length;
  T top = largest_of_row<WIDTH>(x, length);
  T factor = 1 / sum_of_exponentials<WIDTH>(x, length, top);
  for (int i = threadIdx.x; i < length; i += WIDTH) y[i] = exp(x[i] - top) * factor;
}

template <class T, int WIDTH> __global__ void softmax_grad_rows(const T *dy, const T *y, T *dx, int rows, int length) {
  int row = row_of_group<WIDTH>();
  if (row >= rows) return;
  dy += row * length;
  y += row * length;
  T mean = 0;
  for (int i = threadIdx.x; i < length; i += WIDTH) mean += y[i] * dy[i];
  mean = group_reduce<WIDTH, Sum>(mean);
  for (int i = threadIdx.x; i < length; i += WIDTH) dx[row * length + i] = y[i] * (dy[i] - mean);
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

template <class T> __global__ void softmax_grad_lines(const T *dy, const T *y, T *dx, int lines, int length, int inner) {
  int line = thread_of_grid();
  if (line >= lines) return;
  int first = line / inner * length * inner + line % inner, end = first + length * inner;
  T mean = 0;
  for (int i = first; i < end; i += inner) mean += y[i] * dy[i];
  for (int i = first; i < end; i += inner) dx[i] = y[i] * (dy[i] - mean);
}

// A target that is no class makes its row NaN: to refuse it, the host would have to wait for the device.
template <class T, int WIDTH> __global__ void cross_entropy(const T *z, const long long *target, T *loss, T *dz, int rows,
                                                            int classes, T smoothing) {
  int row = row_of_group<WIDTH>();
  if (row >= rows) return;
  z += row * classes;
  dz += row * classes;
  T top = largest_of_row<WIDTH>(z, classes);
  T total = sum_of_exponentials<WIDTH>(z, classes, top);
  long long right = target[row];
  bool known = 0 <= right && right < classes;
  T share = smoothing / T(classes), shifted = 0;
  if (smoothing > 0) {  // 0 * -inf is a NaN, and an excluded class has a logit of -inf
    for (int i = threadIdx.x; i < classes; i += WIDTH) shifted += z[i] - top;
    shifted = group_reduce<WIDTH, Sum>(shifted);
  }
  T wrong = known ? T(0) : T(INFINITY) - T(INFINITY);
  if (threadIdx.x == 0) loss[row] = known ? log(total) - (1 - smoothing) * (z[right] - top) - share * shifted : wrong;
  for (int i = threadIdx.x; i < classes; i += WIDTH)
    dz[i] = exp(z[i] - top) / total - share - (i == right ? 1 - smoothing : T(0)) + wrong;
}
