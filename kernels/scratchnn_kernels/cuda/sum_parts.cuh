// The second step of a sum that was cut into parts: sums[i] = sum over p of part[p, i], always in the same order.
#pragma once
#include "common.cuh"

template <class T> __global__ void sum_parts(const T *part, T *sums, int parts, int count) {
  int i = thread_of_grid();
  if (i >= count) return;
  T sum = 0;
  for (int p = 0; p < parts; p++) sum += part[p * count + i];
  sums[i] = sum;
}
