// One step of SGD or Adam over the flat buffers, in one pass; the formulas are those of update.py.
#include "common.cuh"

template <class T> __global__ void sgd(T *w, const T *g, T *velocity, int count, T momentum, T decay, T a, T b) {
  int i = thread_of_grid();
  if (i >= count) return;
  T gradient = g[i] + decay * w[i];
  T u = momentum * velocity[i] + gradient;
  velocity[i] = u;
  w[i] -= a * gradient + b * u;
}

template <class T> __global__ void adam(T *w, const T *g, T *m, T *v, int count, T b1, T rest1, T b2, T rest2, T eps,
                                        T decay, T shrink, T rate, T scale) {
  int i = thread_of_grid();
  if (i >= count) return;
  T gradient = g[i] + decay * w[i];
  T mean = b1 * m[i] + rest1 * gradient;
  T square = b2 * v[i] + rest2 * gradient * gradient;
  m[i] = mean;
  v[i] = square;
  w[i] = shrink * w[i] - rate * mean / (sqrt(square * scale) + eps);
}
