// A tile of C[m,n] = sum_k A[m,k] B[k,n] on the tensor cores in TF32: inputs keep 10 bits of mantissa, sums are float.
// A, B and C as in tile.cuh. Three tiles of k are on their way to shared memory or in use at a time.
#pragma once
#include "common.cuh"
#include "tensor_core.cuh"

struct TensorTile {
  static constexpr int BM = 64, BN = 64, BK = 16, STAGES = 3, THREADS = 128;  // four warps, 32 x 32 results each
  // Rows of shared memory are longer than the tile, so that the lanes of a fragment meet 32 different banks.
  struct Stage {
    float a[BM][BK + 4], b[BK][BN + 8];
  };

  template <class A, class B>
  static __device__ void load(Stage &to, A &a, B &b, int m0, int n0, int k0, int last, int rows, int columns) {
    int k = k0 + threadIdx.x % BK;
    if (k < last) a.along(k);
    for (int m = threadIdx.x / BK; m < BM; m += THREADS / BK) {
      const float *p = k < last && m0 + m < rows ? a.at(m0 + m) : nullptr;
      async_copy(&to.a[m][threadIdx.x % BK], p ? p : a.origin(), p != nullptr);
    }
    int n = threadIdx.x % BN;
    for (int i = threadIdx.x / BN; i < BK; i += THREADS / BN) {
      const float *p = k0 + i < last && n0 + n < columns ? b.at(k0 + i) : nullptr;
      async_copy(&to.b[i][n], p ? p : a.origin(), p != nullptr);
    }
  }

  static __device__ void multiply(const Stage &s, int row, int column, float (&sum)[2][4][4]) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < BK; k += 8) {
      unsigned a[2][4], b[4][2];
      for (int i = 0; i < 2; i++)
        for (int r = 0; r < 4; r++) a[i][r] = to_tf32(s.a[row + 16 * i + g + r % 2 * 8][k + t + r / 2 * 4]);
      for (int j = 0; j < 4; j++)
        for (int r = 0; r < 2; r++) b[j][r] = to_tf32(s.b[k + t + 4 * r][column + 8 * j + g]);
      for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++) mma_tf32(sum[i][j], a[i], b[j]);
    }
  }

  template <class A, class B, class C>
  static __device__ void run(A a, B b, C c, int rows, int columns, int m0, int n0, int first, int last) {
    __shared__ Stage stages[STAGES];
    float sum[2][4][4] = {};
    int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    int row = warp / 2 * 32, column = warp % 2 * 32;
    if (n0 + threadIdx.x % BN < columns) b.column(n0 + threadIdx.x % BN);
    for (int stage = 0; stage < STAGES - 1; stage++) {
      load(stages[stage], a, b, m0, n0, first + stage * BK, last, rows, columns);
      async_commit();
    }
    int now = 0;
    for (int k = first; k < last; k += BK, now = (now + 1) % STAGES) {
      async_wait(STAGES - 2);  // this thread's part of the tile is there
      __syncthreads();         // everyone's is, and everyone has left the stage that is filled now
      load(stages[(now + STAGES - 1) % STAGES], a, b, m0, n0, k + (STAGES - 1) * BK, last, rows, columns);
      async_commit();
      multiply(stages[now], row, column, sum);
    }
    for (int j = 0; j < 4; j++)
      for (int e = 0; e < 2; e++) {
        int n = n0 + column + 8 * j + 2 * t + e;
        if (n >= columns) continue;
        c.column(n);
        for (int i = 0; i < 4; i++) {
          int m = m0 + row + 8 * i + g;
          if (m < rows) c.store(m, sum[i / 2][j][i % 2 * 2 + e]);
        }
      }
  }
};
