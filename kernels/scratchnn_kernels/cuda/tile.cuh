// C[m,n] = sum_k A[m,k] B[k,n], a tile of C for each block: the core of the matrix product and of all convolutions.
//
// A and B are not arrays, but know where their numbers are: `a.along(k)` and then `a.at(m)`, `b.column(n)` and then
// `b.at(k)` give the address, or null for a zero. A thread loads along one k of A and one column of B, so that the first
// call, which divides, is rare. The next tile is on its way from memory while this one is multiplied out of shared memory.
#pragma once
#include "common.cuh"

template <class T, int BM_, int BN_, int BK_, int TM_, int TN_> struct Tile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, TM = TM_, TN = TN_, V = Pack<T>::SIZE;
  static constexpr int THREADS = (BM / TM) * (BN / TN), A_SLOTS = BM * BK / THREADS, B_SLOTS = BN * BK / THREADS;
  static_assert(THREADS % BK == 0 && THREADS % BN == 0, "a thread keeps its k of A and its column of B");
  static_assert(TM % V == 0 && TN % V == 0, "registers are filled by vectors");

  // A thread's TM rows lie V by V, BM / TM * V apart: neighbours then read neighbouring vectors of shared memory.
  static __device__ int row(int i) { return i / V * (BM / TM * V) + threadIdx.x / (BN / TN) * V + i % V; }
  static __device__ int column(int j) { return j / V * (BN / TN * V) + threadIdx.x % (BN / TN) * V + j % V; }

  template <class A> static __device__ void load_a(A &a, int m0, int k, int last, int rows, T (&held)[A_SLOTS]) {
    k += threadIdx.x % BK;
    if (k < last) a.along(k);
    for (int i = 0; i < A_SLOTS; i++) {
      int m = m0 + threadIdx.x / BK + i * (THREADS / BK);
      const T *p = k < last && m < rows ? a.at(m) : nullptr;
      held[i] = p ? *p : T(0);
    }
  }
  template <class B> static __device__ void load_b(B &b, int n0, int k0, int last, int columns, T (&held)[B_SLOTS]) {
    for (int i = 0; i < B_SLOTS; i++) {
      int k = k0 + threadIdx.x / BN + i * (THREADS / BN);
      const T *p = k < last && n0 + threadIdx.x % BN < columns ? b.at(k) : nullptr;
      held[i] = p ? *p : T(0);
    }
  }

  struct Shared {
    __align__(16) T a[BK][BM + V];
    __align__(16) T b[BK][BN];
    __device__ void store(const T (&held_a)[A_SLOTS], const T (&held_b)[B_SLOTS]) {
      for (int i = 0; i < A_SLOTS; i++) a[threadIdx.x % BK][threadIdx.x / BK + i * (THREADS / BK)] = held_a[i];
      for (int i = 0; i < B_SLOTS; i++) b[threadIdx.x / BN + i * (THREADS / BN)][threadIdx.x % BN] = held_b[i];
    }
  };

  static __device__ void multiply(const Shared &s, T (&sum)[TM][TN]) {
#pragma unroll
    for (int k = 0; k < BK; k++) {
      T a[TM], b[TN];
      for (int i = 0; i < TM; i += V) *(Pack<T> *)(a + i) = *(const Pack<T> *)&s.a[k][row(i)];
      for (int j = 0; j < TN; j += V) *(Pack<T> *)(b + j) = *(const Pack<T> *)&s.b[k][column(j)];
      for (int i = 0; i < TM; i++)
        for (int j = 0; j < TN; j++) sum[i][j] += a[i] * b[j];
    }
  }

  // The tile whose first row and column are m0 and n0, with k from `first` to `last`; then c.column(n), c.store(m, sum).
  template <class A, class B, class C>
  static __device__ void run(A a, B b, C c, int rows, int columns, int m0, int n0, int first, int last) {
    __shared__ Shared shared[2];
    T sum[TM][TN] = {}, held_a[A_SLOTS], held_b[B_SLOTS];
    if (n0 + threadIdx.x % BN < columns) b.column(n0 + threadIdx.x % BN);
    load_a(a, m0, first, last, rows, held_a);
    load_b(b, n0, first, last, columns, held_b);
    shared[0].store(held_a, held_b);
    __syncthreads();
    int now = 0;
    for (int k = first; k < last; k += BK, now ^= 1) {
      bool more = k + BK < last;
      if (more) load_a(a, m0, k + BK, last, rows, held_a);
      if (more) load_b(b, n0, k + BK, last, columns, held_b);
      multiply(shared[now], sum);
      if (more) shared[now ^ 1].store(held_a, held_b);
      __syncthreads();
    }
    for (int j = 0; j < TN; j++) {
      int n = n0 + column(j);
      if (n >= columns) continue;
      c.column(n);
      for (int i = 0; i < TM; i++)
        if (m0 + row(i) < rows) c.store(m0 + row(i), sum[i][j]);
    }
  }
};
