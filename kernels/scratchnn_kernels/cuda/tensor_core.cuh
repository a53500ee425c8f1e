// mma.sync and its rounding, which CUDA C++ reaches by PTX only, and their emulation.
#pragma once

#ifdef DRYWARP
#define mma_tf32(d, a, b) drywarp::mma<8>(d, a, b, __LINE__)
static inline unsigned to_tf32(float x) { return drywarp::to_tf32(x); }
#elif __CUDA_ARCH__ >= 800
// To nearest, 10 bits of mantissa.
__device__ inline unsigned to_tf32(float x) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return rounded;
}

// D[16,8] += A[16,8] B[8,8]: the warp's lane 4g+t holds A[g, t], A[g+8, t], A[g, t+4], A[g+8, t+4], B[t, g], B[t+4, g]
// and D[g, 2t], D[g, 2t+1], D[g+8, 2t], D[g+8, 2t+1].
__device__ inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
