// mma.sync, with the fragment layouts of the PTX ISA: m16n8k8 for TF32, m16n8k16 for BF16. Products are exact and summed
// in double: a tensor core rounds otherwise, so compare with a tolerance.
#pragma once

namespace drywarp {

struct Fragments { uint32_t a[4], b[2]; };

static inline float tf32(uint32_t word) { return drywarp_bits<float>(word & 0xffffe000u); }  // the low 13 bits are ignored
static inline float bf16(uint32_t word, int half) { return drywarp_bits<float>(word >> 16 * half << 16); }

static inline Fragments fragments_of(int other) {
  Fragments found;
  copy(&found, given_by(other), sizeof found);
  return found;
}

// d[2r+c] += A[g+8r][:] B[:][2t+c] for lane 4g+t; the kind is TF32 for K = 8, BF16 for K = 16.
template <int K> static void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int line) {
  Fragments own;
  memcpy(own.a, a, sizeof own.a);
  memcpy(own.b, b, sizeof own.b);
  collective(FULL, line, &own, sizeof own);
  int g = lane() >> 2, t = lane() & 3;
  for (int r = 0; r < 2; r++)
    for (int c = 0; c < 2; c++) {
      double sum = 0;
      for (int k = 0; k < K; k++) {
        int owner = K == 8 ? k & 3 : (k & 7) >> 1, half = k & 1;
        Fragments left = fragments_of(4 * g + owner), right = fragments_of(4 * (2 * t + c) + owner);
        if (K == 8) sum += (double)tf32(left.a[r + 2 * (k >> 2)]) * tf32(right.b[k >> 2]);
        else sum += (double)bf16(left.a[r + 2 * (k >> 3)], half) * bf16(right.b[k >> 3], half);
      }
      d[2 * r + c] += (float)sum;
    }
}

// cvt.rna.tf32.f32: to nearest, ties away from zero.
static inline uint32_t to_tf32(float x) { return (drywarp_bits<uint32_t>(x) + 0x1000u) & 0xffffe000u; }

}  // namespace drywarp
