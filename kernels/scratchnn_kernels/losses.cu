// Losses between numbers and targets: every number is visited once, 16 bytes at a time where all arrays begin at a
// multiple of 16. The formulas are those of losses.py.
#include "reduce.cuh"
#include "sum_parts.cuh"

struct SquaredError {
  template <class T> static __device__ T term(T x, T t) { return (x - t) * (x - t); }
  template <class T> static __device__ T slope(T x, T t) { return 2 * (x - t); }
};
struct AbsoluteError {
  template <class T> static __device__ T term(T x, T t) { return x > t ? x - t : t - x; }
  template <class T> static __device__ T slope(T x, T t) { return T(x > t) - T(x < t); }
};
struct BinaryCrossEntropy {
  // NaN for what is no probability: to refuse it, the host would have to wait for the device.
  template <class T> static __device__ T chance(T t) { return 0 <= t && t <= 1 ? t : T(INFINITY) - T(INFINITY); }
  template <class T> static __device__ T term(T x, T t) {
    return log1p(exp(x > 0 ? -x : x)) + x * (T(x > 0) - chance(t));
  }
  template <class T> static __device__ T slope(T x, T t) {
    T e = exp(x > 0 ? -x : x);  // never overflows
    return (x > 0 ? T(1) : e) / (1 + e) - chance(t);
  }
};

// dx = slope * share, and a block's sum of terms * share.
template <class T, class F> __global__ void loss(const T *x, const T *target, T *dx, T *part, int count, T share) {
  constexpr int SIZE = Pack<T>::SIZE;
  bool packed = aligned(x) && aligned(target) && aligned(dx);
  T sum = 0;
  for (int i = thread_of_grid() * SIZE; i < count; i += gridDim.x * 256 * SIZE) {
    if (packed && i + SIZE <= count) {
      Pack<T> in = *(const Pack<T> *)(x + i), goal = *(const Pack<T> *)(target + i), out;
      for (int j = 0; j < SIZE; j++) {
        sum += F::term(in.value[j], goal.value[j]);
        out.value[j] = F::slope(in.value[j], goal.value[j]) * share;
      }
      *(Pack<T> *)(dx + i) = out;
      continue;
    }
    for (int j = i; j < i + SIZE && j < count; j++) {
      sum += F::term(x[j], target[j]);
      dx[j] = F::slope(x[j], target[j]) * share;
    }
  }
  sum = group_reduce<256, Sum>(sum);
  if (threadIdx.x == 0) part[blockIdx.x] = sum * share;
}
