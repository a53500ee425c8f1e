// C[m,n] = sum_k A[m,k] B[k,n], a tile of C for each block: the core of the matrix product and of all convolutions.
//
// A and B are not arrays, but know where their numbers are: `a.along(k)` and then `a.at(m)`, `b.column(n)` and then
// `b.at(b.step(k))` if `b.has` it: else it is a zero. What divides is rare: a thread loads along one k of A and one column
// of B, and the steps along k are found once for all columns. The next tile is on its way from memory while this one is
// multiplied out of shared memory.
#pragma once
#include "common.cuh"

// The first BK threads find the steps from k0 on.
template <int BK, class B> __device__ void find_steps(const B &b, int k0, int last, typename B::Step (&steps)[BK]) {
  int k = k0 + threadIdx.x;
  if (threadIdx.x < BK) steps[threadIdx.x] = k < last ? b.step(k) : B::nowhere();
}

template <class T, int BM_, int BN_, int BK_, int TM_, int TN_> struct Tile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, TM = TM_, TN = TN_, V = Pack<T>::SIZE;
  static constexpr int THREADS = (BM / TM) * (BN / TN);
  static constexpr int A_SLOTS = BM * BK / THREADS, B_SLOTS = BN * BK / THREADS;
  // With 128 registers a thread, or 96 where there are few sums, and twice that for double.
  static constexpr int BLOCKS = room_for((TM * TN >= 32 ? 2048 : 2560) / (int)sizeof(T) / THREADS);
  static_assert(THREADS % BK == 0 && THREADS % BN == 0, "a thread keeps its k of A and its column of B");
  static_assert(TM % V == 0 && TN % V == 0, "registers are filled by vectors");

  // A thread's TM rows lie V by V, BM / TM * V apart: neighbours then read neighbouring vectors of shared memory.
  static __device__ int row(int i) { return i / V * (BM / TM * V) + threadIdx.x / (BN / TN) * V + i % V; }
  static __device__ int column(int j) { return j / V * (BN / TN * V) + threadIdx.x % (BN / TN) * V + j % V; }

  // The row of A that a thread loads as its i-th.
  static __device__ int own_row(int i) { return threadIdx.x / BK + i * (THREADS / BK); }

  template <class A> static __device__ void load_a(A &a, int m0, int k, int last, int rows, T (&held)[A_SLOTS]) {
    k += threadIdx.x % BK;
    if (k < last) a.along(k);
    for (int i = 0; i < A_SLOTS; i++) {
      int m = m0 + own_row(i);
      held[i] = k < last && m < rows ? __ldg(a.at(m)) : T(0);
    }
  }
  template <class B> static __device__ void load_b(const B &b, const typename B::Step (&steps)[BK], T (&held)[B_SLOTS]) {
    for (int i = 0; i < B_SLOTS; i++) {
      typename B::Step step = steps[threadIdx.x / BN + i * (THREADS / BN)];
      held[i] = b.has(step) ? __ldg(b.at(step)) : T(0);
    }
  }

  template <class Step> struct Shared {
    __align__(16) T a[BK][BM + V];
    __align__(16) T b[BK][BN];
    Step steps[BK];
    __device__ void store(const T (&held_a)[A_SLOTS], const T (&held_b)[B_SLOTS]) {
      for (int i = 0; i < A_SLOTS; i++) a[threadIdx.x % BK][own_row(i)] = held_a[i];
      for (int i = 0; i < B_SLOTS; i++) b[threadIdx.x / BN + i * (THREADS / BN)][threadIdx.x % BN] = held_b[i];
    }
  };

  template <class S> static __device__ void multiply(const S &s, T (&sum)[TM][TN]) {
#pragma unroll
    for (int k = 0; k < BK; k++) {
      T a[TM], b[TN];
      for (int i = 0; i < TM; i += V) *(Pack<T> *)(a + i) = *(const Pack<T> *)&s.a[k][row(i)];
      for (int j = 0; j < TN; j += V) *(Pack<T> *)(b + j) = *(const Pack<T> *)&s.b[k][column(j)];
      for (int i = 0; i < TM; i++)
        for (int j = 0; j < TN; j++) sum[i][j] += a[i] * b[j];
    }
  }

  // The tile whose first row and column are m0 and n0, with k from `first` to `last`; then c.column(n), c.store(m, sum),
  // 16 bytes at a time if c.packed().
  template <class A, class B, class C>
  static __device__ void run(A a, B b, C c, int rows, int columns, int m0, int n0, int first, int last) {
    __shared__ Shared<typename B::Step> shared[2];
    __align__(16) T sum[TM][TN] = {};
    T held_a[A_SLOTS], held_b[B_SLOTS];
    if (n0 + threadIdx.x % BN < columns) b.column(n0 + threadIdx.x % BN);
    find_steps(b, first, last, shared[0].steps);
    find_steps(b, first + BK, last, shared[1].steps);
    __syncthreads();
    load_a(a, m0, first, last, rows, held_a);
    load_b(b, shared[0].steps, held_b);
    shared[0].store(held_a, held_b);
    __syncthreads();
    int now = 0;
    for (int k = first; k < last; k += BK, now ^= 1) {
      bool more = k + BK < last;
      if (more) load_a(a, m0, k + BK, last, rows, held_a);
      if (more) load_b(b, shared[now ^ 1].steps, held_b);
      find_steps(b, k + 2 * BK, last, shared[now].steps);  // its own were used for the last loads
      multiply(shared[now], sum);
      if (more) shared[now ^ 1].store(held_a, held_b);
      __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < TN; j += V) {
      int n = n0 + column(j);
      if (n + V <= columns && c.packed()) {
        c.column(n);
        for (int i = 0; i < TM; i++)
          if (m0 + row(i) < rows) c.store(m0 + row(i), *(const Pack<T> *)(sum[i] + j));
        continue;
      }
      for (int l = 0; l < V; l++) {
        if (n + l >= columns) break;
        c.column(n + l);
        for (int i = 0; i < TM; i++)
          if (m0 + row(i) < rows) c.store(m0 + row(i), sum[i][j + l]);
      }
    }
  }
};

// Few rows: a thread has a column for itself, and uses each number of B as it comes, without shared memory.
template <class T, int BM_, int BN_, int BK_> struct Tile<T, BM_, BN_, BK_, BM_, 1> {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, THREADS = BN, BLOCKS = room_for(2048 / (int)sizeof(T) / THREADS);
  static_assert(BM * BK <= THREADS, "a thread loads one number of A");

  static __device__ bool loads_a() { return threadIdx.x < BM * BK; }
  template <class A> static __device__ T load_a(A &a, int m0, int k, int last, int rows) {
    int m = m0 + threadIdx.x / BK;
    k += threadIdx.x % BK;
    if (!loads_a() || k >= last || m >= rows) return T(0);
    a.along(k);
    return __ldg(a.at(m));
  }
  static __device__ void store_a(T held, T (&to)[BK][BM]) {
    if (loads_a()) to[threadIdx.x % BK][threadIdx.x / BK] = held;
  }

  template <class A, class B, class C>
  static __device__ void run(A a, B b, C c, int rows, int columns, int m0, int n0, int first, int last) {
    __shared__ __align__(16) T of_a[2][BK][BM];
    __shared__ typename B::Step steps[2][BK];
    T sum[BM] = {};
    int n = n0 + threadIdx.x;
    if (n < columns) b.column(n);
    store_a(load_a(a, m0, first, last, rows), of_a[0]);
    find_steps(b, first, last, steps[0]);
    __syncthreads();
    int now = 0;
    for (int k0 = first; k0 < last; k0 += BK, now ^= 1) {
      T held = load_a(a, m0, k0 + BK, last, rows);
      find_steps(b, k0 + BK, last, steps[now ^ 1]);
      T of_b[BK];
#pragma unroll
      for (int k = 0; k < BK; k++) {
        typename B::Step step = steps[now][k];  // a copy: it is read once then
        of_b[k] = b.has(step) ? __ldg(b.at(step)) : T(0);
      }
#pragma unroll
      for (int k = 0; k < BK; k++)
        for (int m = 0; m < BM; m++) sum[m] += of_a[now][k][m] * of_b[k];
      store_a(held, of_a[now ^ 1]);
      __syncthreads();
    }
    if (n >= columns) return;
    c.column(n);
    for (int m = 0; m < BM; m++)
      if (m0 + m < rows) c.store(m0 + m, sum[m]);
  }
};
