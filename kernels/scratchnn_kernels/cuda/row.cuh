// A row of numbers that a group of WIDTH threads along x reads from memory once: each thread holds COUNT of them in
// registers. What a longer row has beyond is read again each time.
#pragma once
#include "reduce.cuh"

template <class T, int WIDTH> struct Row {
  static constexpr int COUNT = WIDTH < 256 ? 8 : 16;
  const T *memory;
  int length;
  T held[COUNT];

  // The last block has groups without a row. They stay, with no numbers, for the other lanes of their warps.
  __device__ Row(const T *rows, int row, int count, int row_length)
      : memory(rows + row * row_length), length(row < count ? row_length : 0) {
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
      int i = threadIdx.x + k * WIDTH;
      held[k] = i < length ? memory[i] : T(0);
    }
  }

  // The thread's k-th number, which is number i of the row.
  __device__ T operator()(int k, int i) const { return k < COUNT ? held[k] : memory[i]; }

  // Replace the numbers in registers by f of them.
  template <class F> __device__ void map(F f) {
#pragma unroll
    for (int k = 0; k < COUNT; k++) held[k] = f(held[k]);
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
