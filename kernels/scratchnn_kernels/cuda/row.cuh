// Numbers along an axis, a row, that a group of WIDTH threads along x reads from memory once: each thread holds COUNT of
// them in registers. What a longer row has beyond is read again each time. The numbers lie together, or `inner` apart if
// the group has less than 8 threads: groups side by side then read what lies side by side, 32 bytes or more at a time.
#pragma once
#include "reduce.cuh"

// For __launch_bounds__: the threads of a block, and the blocks that make so many threads of a multiprocessor.
template <int WIDTH> constexpr int ROW_THREADS = WIDTH > 32 ? WIDTH : 256;
template <class T, int WIDTH> constexpr int room_for_rows(int threads) {
  return sizeof(T) == 4 ? room_for(threads / ROW_THREADS<WIDTH>) : 1;
}

template <class T, int WIDTH> struct Row {
  static constexpr int COUNT = WIDTH < 8 || WIDTH == 256 ? 16 : 8;
  int length, inner, first;  // where in memory the row begins
  const T *memory;           // from there on
  T held[COUNT];

  // The last block has groups without a row. They stay, with no numbers, for the other lanes of their warps.
  __device__ Row(const T *rows, int row, int count, int row_length, int apart = 1)
      : length(row < count ? row_length : 0), inner(apart),
        first(WIDTH < 8 ? row / inner * row_length * inner + row % inner : row * row_length), memory(rows + first) {
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
      int i = threadIdx.x + k * WIDTH;
      held[k] = i < length ? memory[at(i)] : T(0);
    }
  }

  // How far from there number i lies.
  __device__ int at(int i) const { return WIDTH < 8 ? i * inner : i; }

  // The thread's k-th number, which is number i of the row.
  __device__ T operator()(int k, int i) const { return k < COUNT ? held[k] : memory[at(i)]; }

  // Replace the numbers in registers by f(k, number) of them.
  template <class F> __device__ void map(F f) {
#pragma unroll
    for (int k = 0; k < COUNT; k++) held[k] = f(k, held[k]);
  }

  // visit(k, i) for each of the thread's numbers.
  template <class Visit> __device__ void each(Visit visit) const {
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
      int i = threadIdx.x + k * WIDTH;
      if (i < length) visit(k, i);
    }
    for (int i = threadIdx.x + COUNT * WIDTH; i < length; i += WIDTH) visit(COUNT, i);
  }

  // The group's sum of term(k, i).
  template <class Term> __device__ T sum(Term term) const {
    T total = 0;
    each([&](int k, int i) { total += term(k, i); });
    return group_reduce<WIDTH, Sum>(total);
  }
};

__device__ inline int row_of_group() { return blockIdx.x * blockDim.y + threadIdx.y; }
