// The matrix product C = A B of matrices with any strides; a sum over k may be cut into parts, which are added afterwards.
#include "sum_parts.cuh"
#include "tile.cuh"

struct Product { int rows, columns, inner, a_row, a_inner, b_inner, b_column, share; };

template <class T> struct Left {
  const T *a;
  Product p;
  int k;
  __device__ void along(int k_) { k = k_; }
  __device__ const T *at(int m) const { return a + m * p.a_row + k * p.a_inner; }
};
template <class T> struct Right {
  const T *b;
  Product p;
  int n;
  __device__ void column(int n_) { n = n_; }
  __device__ const T *at(int k) const { return b + k * p.b_inner + n * p.b_column; }
};
template <class T> struct Result {
  T *c;
  Product p;
  int n;
  __device__ void column(int n_) { n = n_; }
  __device__ void store(int m, T sum) const { c[m * p.columns + n] = sum; }
};

template <class T, int BM, int BN, int BK, int TM, int TN>
__global__ void __launch_bounds__(Tile<T, BM, BN, BK, TM, TN>::THREADS) matmul(const T *a, const T *b, T *c, Product p) {
  c += (long long)blockIdx.z * p.rows * p.columns;
  int first = blockIdx.z * p.share, last = min(p.inner, first + p.share);
  Tile<T, BM, BN, BK, TM, TN>::run(Left<T>{a, p, 0}, Right<T>{b, p, 0}, Result<T>{c, p, 0}, p.rows, p.columns,
                                   blockIdx.y * BM, blockIdx.x * BN, first, last);
}
