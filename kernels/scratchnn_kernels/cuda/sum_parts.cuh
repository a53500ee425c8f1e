// The second step of a sum that was cut into parts: sums[i] = sum over p of part[p, i], always in the same order.
// Threads along y share the parts, for few numbers of many parts.
#pragma once
#include "common.cuh"

template <class T> __global__ void sum_parts(const T *part, T *sums, int parts, int count) {
  __shared__ T shares[256];
  int i = thread_of_grid();
  T sum = 0;
  for (int p = threadIdx.y; p < parts && i < count; p += blockDim.y) sum += part[p * count + i];
  shares[threadIdx.y * blockDim.x + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || i >= count) return;
  for (int s = 1; s < blockDim.y; s++) sum += shares[s * blockDim.x + threadIdx.x];
  sums[i] = sum;
}
