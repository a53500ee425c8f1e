// The kernels of peak_gpu.py.

// Chains that do not wait for each other; the factor comes from outside, or the compiler would see the result.
extern "C" __global__ void multiply_add(float *sums, float factor, int rounds) {
  float chain[16];
  for (int k = 0; k < 16; k++) chain[k] = float(threadIdx.x + k);
  for (int r = 0; r < rounds; r++) {
#pragma unroll
    for (int k = 0; k < 16; k++) chain[k] = chain[k] * factor + factor;
  }
  float sum = 0;
  for (int k = 0; k < 16; k++) sum += chain[k];
  sums[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// Four numbers a thread.
extern "C" __global__ void copy(const float *source, float *target, int quads) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < quads) reinterpret_cast<float4 *>(target)[i] = reinterpret_cast<const float4 *>(source)[i];
}
