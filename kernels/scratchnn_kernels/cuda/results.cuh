// How sums become results: with a bias and ReLU, 16 bytes at a time, out of parts.
#pragma once
#include "common.cuh"

template <class T> __device__ T positive(T x, int relu) { return relu && x <= 0 ? T(0) : x; }  // a NaN stays

template <class T> __device__ void put(T *at, T sum, T bias, int relu) { *at = positive(sum + bias, relu); }
template <class T> __device__ void put(T *at, Pack<T> sum, T bias, int relu) {
  for (int i = 0; i < Pack<T>::SIZE; i++) sum.value[i] = positive(sum.value[i] + bias, relu);
  *(Pack<T> *)at = sum;
}

// Whether 16 bytes are never cut by the end of a run of numbers.
template <class T> __device__ bool in_packs(const T *y, int run) { return run % Pack<T>::SIZE == 0 && aligned(y); }

// The second step of a sum in parts: y [N,channels,pixels] = sum over p of part[p], with the bias and ReLU.
template <class T> __global__ void add_parts(const T *part, const T *bias, T *y, int parts, int count, int channels,
                                             int pixels, int relu) {
  int i = thread_of_grid();
  if (i >= count) return;
  T sum = part[i];
  for (int p = 1; p < parts; p++) sum += part[p * count + i];
  y[i] = positive(sum + (bias ? bias[i / pixels % channels] : T(0)), relu);
}
