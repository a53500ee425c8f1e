// Elementwise functions and gradients, 16 bytes a thread where the arrays begin at a multiple of 16. The formulas are
// those of activations.py and gelu.py; p is the slope, alpha or beta.
#include "common.cuh"

template <class T> __device__ T logistic(T x) {
  T e = exp(x > 0 ? -x : x);  // never overflows
  return (x > 0 ? T(1) : e) / (1 + e);
}
template <class T> __device__ T normal_cdf(T x) { return erfc(x * T(-0.70710678118654752440)) / 2; }
template <class T> __device__ T normal_density(T x) { return exp(-x * x / 2) * T(0.39894228040143267794); }

struct Relu {
  template <class T> static __device__ T of(T x, T) { return x <= 0 ? T(0) : x; }  // a NaN stays
};
struct LeakyRelu {
  template <class T> static __device__ T of(T x, T p) { return x > 0 ? x : p * x; }
};
struct Sigmoid {
  template <class T> static __device__ T of(T x, T) { return logistic(x); }
};
struct Tanh {
  template <class T> static __device__ T of(T x, T) { return tanh(x); }
};
struct Softplus {
  template <class T> static __device__ T of(T x, T p) {
    T z = p * x;
    return ((z > 0 ? z : T(0)) + log1p(exp(z > 0 ? -z : z))) / p;
  }
};
struct Silu {
  template <class T> static __device__ T of(T x, T) { return x * logistic(x); }
};
struct Elu {
  template <class T> static __device__ T of(T x, T p) { return x > 0 ? x : p * expm1(x); }
};
struct Gelu {
  template <class T> static __device__ T of(T x, T) { return x * normal_cdf(x); }
};
struct Erf {
  template <class T> static __device__ T of(T x, T) { return erf(x); }
};

struct ReluGrad {
  template <class T> static __device__ T of(T dy, T y, T) { return dy * T(y > 0); }
};
struct LeakyReluGrad {
  template <class T> static __device__ T of(T dy, T x, T p) { return x > 0 ? dy : p * dy; }
};
struct SigmoidGrad {
  template <class T> static __device__ T of(T dy, T y, T) { return dy * y * (1 - y); }
};
struct TanhGrad {
  template <class T> static __device__ T of(T dy, T y, T) { return dy * (1 - y * y); }
};
struct SoftplusGrad {
  template <class T> static __device__ T of(T dy, T x, T p) { return dy * logistic(p * x); }
};
struct SiluGrad {
  template <class T> static __device__ T of(T dy, T x, T) {
    T s = logistic(x);
    return dy * s * (1 + x * (1 - s));
  }
};
struct EluGrad {
  template <class T> static __device__ T of(T dy, T x, T p) { return x > 0 ? dy : dy * p * exp(x); }
};
struct GeluGrad {
  template <class T> static __device__ T of(T dy, T x, T) { return dy * (normal_cdf(x) + x * normal_density(x)); }
};

template <class T, class F> __global__ void unary(const T *x, T *y, int count, T p) {
  constexpr int SIZE = Pack<T>::SIZE;
  int i = thread_of_grid() * SIZE;
  if (i + SIZE <= count && aligned(x) && aligned(y)) {
    Pack<T> in = *(const Pack<T> *)(x + i), out;
    for (int j = 0; j < SIZE; j++) out.value[j] = F::of(in.value[j], p);
    *(Pack<T> *)(y + i) = out;
    return;
  }
  for (int j = i; j < i + SIZE && j < count; j++) y[j] = F::of(x[j], p);
}

template <class T, class F> __global__ void binary(const T *dy, const T *kept, T *dx, int count, T p) {
  constexpr int SIZE = Pack<T>::SIZE;
  int i = thread_of_grid() * SIZE;
  if (i + SIZE <= count && aligned(dy) && aligned(kept) && aligned(dx)) {
    Pack<T> slope = *(const Pack<T> *)(dy + i), in = *(const Pack<T> *)(kept + i), out;
    for (int j = 0; j < SIZE; j++) out.value[j] = F::of(slope.value[j], in.value[j], p);
    *(Pack<T> *)(dx + i) = out;
    return;
  }
  for (int j = i; j < i + SIZE && j < count; j++) dx[j] = F::of(dy[j], kept[j], p);
}
