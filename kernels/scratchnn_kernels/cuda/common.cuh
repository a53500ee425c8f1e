// What all kernels share: 16 bytes at a time, and numbers that NVRTC does not name.
#pragma once
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// As many numbers as one instruction loads or stores.
template <class T> struct __align__(16) Pack {
  static constexpr int SIZE = 16 / sizeof(T);
  T value[SIZE];
};

template <class T> __device__ bool aligned(const T *p) { return (size_t)p % 16 == 0; }

// Let the compiler forget how p was found: else it adds the parts of an address anew at each use, instead of keeping p.
// It forgets too that p is no address of shared memory; so read by __ldg. The same for an int.
template <class T> __device__ void keep(const T *&p) {
#ifndef DRYWARP
  asm("" : "+l"(p));
#endif
}
__device__ inline void keep(int &x) {
#ifndef DRYWARP
  asm("" : "+r"(x));
#endif
}

// Blocks that a multiprocessor must have room for, which limits their registers: on the GPU where it was measured to pay.
constexpr int room_for(int blocks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
  return blocks;
#else
  return 1;
#endif
}

__device__ inline int thread_of_grid() { return blockIdx.x * blockDim.x + threadIdx.x; }

// n / d by a multiplication; n below 2^31 (Granlund & Montgomery 1994).
struct Divisor {
  int divisor;
  unsigned multiplier, shift;
  __device__ explicit Divisor(int d) : divisor(d), shift(32 - __clz(d - 1)) {
    multiplier = (unsigned)((((1ull << shift) - d) << 32) / d) + 1;
  }
  __device__ int of(int n) const { return (int)((__umulhi((unsigned)n, multiplier) + (unsigned)n) >> shift); }
  // Leaves the quotient in n, and returns the rest.
  __device__ int take(int &n) const {
    int quotient = of(n), rest = n - quotient * divisor;
    n = quotient;
    return rest;
  }
};
