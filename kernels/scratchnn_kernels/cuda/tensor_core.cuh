// cp.async and mma.sync, which CUDA C++ reaches by PTX only, and their emulation.
#pragma once

#ifdef DRYWARP
#define async_commit() drywarp::async_commit()
#define async_wait(most) drywarp::async_wait(most)
#define mma_tf32(d, a, b) drywarp::mma<8>(d, a, b, __LINE__)
static inline void async_copy(float *target, const float *source, bool there) {
  drywarp::async_copy(target, source, 4, there ? 4 : 0);
}
static inline unsigned to_tf32(float x) { return drywarp::to_tf32(x); }
#elif __CUDA_ARCH__ >= 800
#define async_commit() asm volatile("cp.async.commit_group;" ::: "memory")
#define async_wait(most) asm volatile("cp.async.wait_group %0;" ::"n"(most) : "memory")

// Four bytes to shared memory, or a zero.
__device__ inline void async_copy(float *target, const float *source, bool there) {
  unsigned address = (unsigned)__cvta_generic_to_shared(target);
  int bytes = there ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(source), "r"(bytes) : "memory");
}

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
