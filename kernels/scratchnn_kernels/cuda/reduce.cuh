// Sums and maxima over a group of threads; every thread gets the result. The order of a sum is always the same.
#pragma once
#include "common.cuh"

struct Sum {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};
struct Largest {
  template <class T> __device__ T operator()(T a, T b) const { return a > b ? a : b; }
};

template <class F, int LANES = 32, class T> __device__ T warp_reduce(T v) {
  for (int distance = LANES / 2; distance; distance /= 2) v = F()(v, __shfl_xor_sync(0xffffffffu, v, distance));
  return v;
}

// WIDTH threads along x are a group: 8 lanes, a warp, or all of the block. All lanes of a warp come here together.
template <int WIDTH, class F, class T> __device__ T group_reduce(T v) {
  if constexpr (WIDTH <= 32) return warp_reduce<F, WIDTH>(v);
  else {
    v = warp_reduce<F>(v);
    __shared__ T part[WIDTH / 32];
    __syncthreads();  // the last result has been read
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    v = part[0];
    for (int i = 1; i < WIDTH / 32; i++) v = F()(v, part[i]);
    return v;
  }
}
