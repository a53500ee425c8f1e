// A tile of C[m,n] = sum_k A[m,k] B[k,n] on the tensor cores in TF32: inputs keep 10 bits of mantissa, sums are float.
//
// A, B and C as in tile.cuh, and as there the next numbers are on their way from memory while these are multiplied.
// They are rounded once, on their way to shared memory, where they lie as lanes load them for mma_tf32. In which order
// k is summed is free, if A and B agree: lane 4g+t takes the neighbours 2t and 2t+1 where mma_tf32 says t and t+4.
#pragma once
#include "common.cuh"
#include "tensor_core.cuh"

// SIZE rows of A or columns of B, BK numbers of each, are shared among 2 SIZE threads in one of three ways.
template <int SIZE> struct Sharing {
  static constexpr int BK = 16, THREADS = 2 * SIZE, SLOTS = 8;
  // One k of eight rows: lanes read along k.
  static __device__ int k() { return threadIdx.x % BK; }
  static __device__ int row(int i) { return threadIdx.x / BK + i * (SIZE / SLOTS); }
  // A quad of k of two rows, SIZE / 2 apart: lanes read along k, 16 bytes each.
  static __device__ int quad() { return threadIdx.x % (BK / 4); }
  static __device__ int quad_row() { return threadIdx.x / (BK / 4); }
  // Eight k of one column: lanes read along the columns.
  static __device__ int column() { return threadIdx.x % SIZE; }
  static __device__ int column_k(int i) { return threadIdx.x / SIZE * SLOTS + i; }
};

// A in shared memory. Rows g and g + 8 of a product are half of all rows apart here, and what a lane takes of them, two
// numbers of each, is one pack. Packs of odd rows change places, so that eight lanes meet all banks.
template <int SIZE> struct Left : Sharing<SIZE> {
  typedef Sharing<SIZE> S;
  unsigned word[SIZE / 2][2 * S::BK];
  static __device__ int place(int row, int k) { return 4 * (k / 2 ^ row % 2 * 5); }
  __device__ void put_one_k(const float (&x)[S::SLOTS]) {
    for (int i = 0; i < S::SLOTS / 2; i++) {
      uint2 both = {to_tf32(x[i]), to_tf32(x[i + S::SLOTS / 2])};
      *(uint2 *)(word[S::row(i)] + place(S::row(i), S::k()) + S::k() % 2 * 2) = both;
    }
  }
  __device__ void put_quads(const float (&x)[S::SLOTS]) {
    int row = S::quad_row();
    for (int k = 0; k < 4; k += 2) {
      Pack<unsigned> both = {to_tf32(x[k]), to_tf32(x[k + 4]), to_tf32(x[k + 1]), to_tf32(x[k + 5])};
      *(Pack<unsigned> *)(word[row] + place(row, 4 * S::quad() + k)) = both;
    }
  }
};

// B in shared memory, by columns. Quads of a column change places, so that the pairs of 16 lanes meet all banks.
template <int SIZE> struct Right : Sharing<SIZE> {
  typedef Sharing<SIZE> S;
  unsigned word[SIZE][S::BK];
  static __device__ int place(int column, int k) { return 4 * (k / 4 ^ (column & 2) ^ column / 4 % 2) + k % 4; }
  __device__ void put_one_k(const float (&x)[S::SLOTS]) {
    for (int i = 0; i < S::SLOTS; i++) word[S::row(i)][place(S::row(i), S::k())] = to_tf32(x[i]);
  }
  __device__ void put_column(const float (&x)[S::SLOTS]) {
    for (int i = 0; i < S::SLOTS; i += 4) {
      Pack<unsigned> quad = {to_tf32(x[i]), to_tf32(x[i + 1]), to_tf32(x[i + 2]), to_tf32(x[i + 3])};
      *(Pack<unsigned> *)(word[S::column()] + place(S::column(), S::column_k(i))) = quad;
    }
  }
};

// Loads A, 16 bytes at a time where `packed`: then k and all rows begin at multiples of 16 bytes.
template <int SIZE, class A> struct Rows {
  typedef Sharing<SIZE> S;
  A a;
  bool packed;
  int own_k, row, rows, last;
  float held[S::SLOTS];
  __device__ Rows(const A &a_, bool packed_, int m0, int rows_, int last_)
      : a(a_), packed(packed_), own_k(packed ? 4 * S::quad() : S::k()),
        row(m0 + (packed ? S::quad_row() : S::row(0))), rows(rows_ - row), last(last_) {}
  __device__ void load(int k0) {
    const float *at = nullptr;
    int apart = 0, there = 0;
    if (k0 + own_k < last) {
      a.along(k0 + own_k);
      at = a.at(row);
      apart = a.at(1) - a.at(0);
      there = rows;
    }
    keep(at);
    if (packed) {
      for (int i = 0; i < 2; i++) {
        int m = i * (SIZE / 2);
        float4 quad = m < there ? __ldg((const float4 *)(at + m * apart)) : float4{};
        held[4 * i] = quad.x, held[4 * i + 1] = quad.y, held[4 * i + 2] = quad.z, held[4 * i + 3] = quad.w;
      }
    } else {
      for (int i = 0; i < S::SLOTS; i++) {
        int m = i * (SIZE / S::SLOTS);
        held[i] = m < there ? __ldg(at + m * apart) : 0.f;
      }
    }
  }
  __device__ void store(Left<SIZE> &to) const {
    if (packed) to.put_quads(held);
    else to.put_one_k(held);
  }
};

// Loads B whose neighbouring columns are neighbours in memory: a thread keeps its column, and each k is a step from it.
template <int SIZE, class B> struct Across {
  typedef Sharing<SIZE> S;
  typedef typename B::Step Steps[2][S::BK];
  B b;
  Steps &steps;
  int last;
  float held[S::SLOTS];
  __device__ Across(const B &b_, Steps &shared, int n0, int columns, int first, int last_)
      : b(b_), steps(shared), last(last_) {
    if (n0 + S::column() < columns) b.column(n0 + S::column());
    find(first, 0);
  }
  __device__ void find(int k0, int stage) {
    int k = k0 + threadIdx.x;
    if (threadIdx.x < S::BK) steps[stage][threadIdx.x] = k < last ? b.step(k) : B::nowhere();
  }
  __device__ void load(int k0, int stage) {
    for (int i = 0; i < S::SLOTS; i++) {
      typename B::Step step = steps[stage][S::column_k(i)];
      held[i] = b.has(step) ? __ldg(b.at(step)) : 0.f;
    }
    find(k0 + S::BK, stage ^ 1);
  }
  __device__ void store(Right<SIZE> &to) const { to.put_column(held); }
};

// Loads the transpose of such a B: neighbours along k are neighbours in memory. A thread has a place for each k, and
// the columns are steps from there.
template <int SIZE, class B> struct Along {
  typedef Sharing<SIZE> S;
  typedef typename B::Step Steps[SIZE];
  B b;
  Steps &steps;
  int last;
  float held[S::SLOTS];
  __device__ Along(const B &b_, Steps &shared, int n0, int columns, int, int last_)
      : b(b_), steps(shared), last(last_) {
    int n = n0 + threadIdx.x;
    if (threadIdx.x < SIZE) steps[threadIdx.x] = n < columns ? b.step(n) : B::nowhere();
  }
  __device__ void load(int k0, int) {
    B here = b;
    if (k0 + S::k() < last) here.column(k0 + S::k());
    for (int i = 0; i < S::SLOTS; i++) {
      typename B::Step step = steps[S::row(i)];
      held[i] = here.has(step) ? __ldg(here.at(step)) : 0.f;
    }
  }
  __device__ void store(Right<SIZE> &to) const { to.put_one_k(held); }
};

// SIZE x SIZE results; a warp has SIZE/2 x 32 of them.
template <int SIZE> struct TensorTile {
  typedef Sharing<SIZE> S;
  static constexpr int BK = S::BK, THREADS = S::THREADS;
  static constexpr int BLOCKS = 512 / THREADS;        // on a multiprocessor, with 128 registers a thread
  static constexpr int DOWN = SIZE / 32, ACROSS = 4;  // products of a warp, of 16 x 8 results
  static constexpr int LENGTH = 40;  // of a row of results in shared memory: four rows of pairs meet all banks
  typedef float Sums[DOWN][ACROSS][4];
  struct __align__(16) Stage {
    Left<SIZE> left;
    Right<SIZE> right;
  };
  typedef Stage Stages[2];
  static_assert(sizeof(Stages) >= THREADS / 32 * 16 * LENGTH * sizeof(float), "results pass through them, too");

  static __device__ int lane() { return threadIdx.x % 32; }
  static __device__ int warp() { return threadIdx.x / 32; }
  // Of a warp: the r-th of the 16 rows of its products i, and the first column of all.
  static __device__ int row(int i, int r) { return warp() % 2 * (SIZE / 4) + 8 * i + r % 8 + r / 8 * (SIZE / 2); }
  static __device__ int column() { return warp() / 2 * (8 * ACROSS); }

  // Products of eight k; `left` and `right` lead to what the lane takes of the first.
  static __device__ void multiply(const Stage &stage, int left, int right, Sums &sum) {
    uint2 b[ACROSS];
    for (int j = 0; j < ACROSS; j++) b[j] = *(const uint2 *)(&stage.right.word[8 * j][0] + right);
    for (int i = 0; i < DOWN; i++) {
      Pack<unsigned> a = *(const Pack<unsigned> *)(&stage.left.word[8 * i][0] + left);
      for (int j = 0; j < ACROSS; j++) {
        unsigned pair[2] = {b[j].x, b[j].y};
        mma_tf32(sum[i][j], a.value, pair);
      }
    }
  }

  // Adds the products with k from `first` to `last`. B is loaded Across or Along.
  template <template <int, class> class Columns, class A, class B>
  static __device__ void add(Stages &stages, Sums &sum, const A &a, bool packed, const B &b, int rows, int columns,
                             int first, int last) {
    __shared__ typename Columns<SIZE, B>::Steps steps;
    Rows<SIZE, A> of_a(a, packed, blockIdx.y * SIZE, rows, last);
    Columns<SIZE, B> of_b(b, steps, blockIdx.x * SIZE, columns, first, last);
    __syncthreads();
    of_a.load(first);
    of_b.load(first, 0);
    of_a.store(stages[0].left);
    of_b.store(stages[0].right);
    __syncthreads();
    int g = lane() / 4, t = lane() % 4, now = 0;
    int left = row(0, g) * (2 * BK) + Left<SIZE>::place(g, 2 * t);
    int right = (column() + g) * BK + Right<SIZE>::place(g, 2 * t);
    keep(left);
    keep(right);
    for (int k = first; k < last; k += BK, now ^= 1) {
      // One after the other: registers are few. There is nothing to load after the last ones.
      of_b.load(k + BK, now ^ 1);
      multiply(stages[now], left, right, sum);
      of_b.store(stages[now ^ 1].right);
      of_a.load(k + BK);
      multiply(stages[now], left ^ 16, right ^ 8, sum);  // the places of the other eight k
      of_a.store(stages[now ^ 1].left);
      __syncthreads();
    }
  }

  // c.column(n), c.store(m, sum), 16 bytes at a time if c.packed(). By way of shared memory, 16 rows of each warp at a
  // time, so that lanes write neighbours.
  template <class C> static __device__ void store(Stages &stages, const Sums &sum, C c, int rows, int columns) {
    float *patch = (float *)stages + warp() * (16 * LENGTH);
    bool packed = c.packed();
    int n = blockIdx.x * SIZE + column() + (packed ? lane() % 8 * 4 : lane());
    if (n < columns) c.column(n);
    else rows = 0;
#pragma unroll
    for (int i = 0; i < DOWN; i++) {
      for (int j = 0; j < ACROSS; j++)
        for (int e = 0; e < 4; e++)
          patch[(lane() / 4 + e / 2 * 8) * LENGTH + 8 * j + lane() % 4 * 2 + e % 2] = sum[i][j][e];
      __syncwarp();
      if (packed) store_rows<Pack<float>>(patch, c, i, rows);
      else store_rows<float>(patch, c, i, rows);
      __syncwarp();
    }
  }
  template <class Sum, class C> static __device__ void store_rows(const float *patch, const C &c, int i, int rows) {
    constexpr int NUMBERS = sizeof(Sum) / sizeof(float), LANES = 32 / NUMBERS;
#pragma unroll 4
    for (int r = 0; r < 16; r += NUMBERS) {
      int own = r + lane() / LANES, m = blockIdx.y * SIZE + row(i, own);
      if (m < rows) c.store(m, *(const Sum *)(patch + own * LENGTH + lane() % LANES * NUMBERS));
    }
  }
};
