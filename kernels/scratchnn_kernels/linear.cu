// The matrix product C = A B of matrices with any strides; a sum over k may be cut into parts, which are added afterwards.
#include "sum_parts.cuh"
#include "results.cuh"
#include "tile.cuh"

struct Product { int rows, columns, inner, a_row, a_inner, b_inner, b_column, share, relu; };

template <class T> struct Left {
  const T *a, *column;
  Product p;
  __device__ void along(int k) {
    column = a + k * p.a_inner;
    keep(column);
  }
  __device__ const T *at(int m) const { return column + m * p.a_row; }
};
template <class T> struct Right {
  struct Step { int offset; };
  const T *b, *place;
  Product p;
  static __device__ Step nowhere() { return {-1}; }
  __device__ Step step(int k) const { return {k * p.b_inner}; }
  __device__ void column(int n) {
    place = b + n * p.b_column;
    keep(place);
  }
  __device__ bool has(const Step &step) const { return place && step.offset >= 0; }
  __device__ const T *at(const Step &step) const { return place + step.offset; }
};
template <class T> struct Result {
  T *c;
  const T *bias;
  Product p;
  int n;
  __device__ void column(int n_) { n = n_; }
  __device__ bool packed() const { return in_packs(c, p.columns); }
  __device__ T finished(T sum, int i) const { return positive(sum + (bias ? bias[n + i] : T(0)), p.relu); }
  __device__ void store(int m, T sum) const { c[m * p.columns + n] = finished(sum, 0); }
  __device__ void store(int m, Pack<T> sum) const {
    for (int i = 0; i < Pack<T>::SIZE; i++) sum.value[i] = finished(sum.value[i], i);
    *(Pack<T> *)(c + m * p.columns + n) = sum;
  }
};

template <class T, int BM, int BN, int BK, int TM, int TN>
__global__ void __launch_bounds__(Tile<T, BM, BN, BK, TM, TN>::THREADS, Tile<T, BM, BN, BK, TM, TN>::BLOCKS) matmul(const T *a, const T *b, const T *bias, T *c, Product p) {
  c += (long long)blockIdx.z * p.rows * p.columns;
  int first = blockIdx.z * p.share, last = min(p.inner, first + p.share);
  Tile<T, BM, BN, BK, TM, TN>::run(Left<T>{a, nullptr, p}, Right<T>{b, nullptr, p}, Result<T>{c, bias, p, 0}, p.rows, p.columns,
                                   blockIdx.y * BM, blockIdx.x * BN, first, last);
}
