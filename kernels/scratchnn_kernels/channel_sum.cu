// Sums of each channel of [N,C,pixels], in two steps: a block sums one channel of some images, then these sums are added.
#include "reduce.cuh"
#include "sum_parts.cuh"

template <class T> __global__ void channel_sums(const T *x, T *part, int batch, int channels, int pixels) {
  int c = blockIdx.x, images = (batch + gridDim.y - 1) / gridDim.y, first = blockIdx.y * images;
  T sum = 0;
  for (int n = first; n < first + images && n < batch; n++)
    for (int i = threadIdx.x; i < pixels; i += 256) sum += x[(n * channels + c) * pixels + i];
  sum = group_reduce<256, Sum>(sum);
  if (threadIdx.x == 0) part[blockIdx.y * channels + c] = sum;
}

// The same where an image has one number of each channel: 32 neighbours share a block, so that a warp reads neighbours.
template <class T> __global__ void column_sums(const T *x, T *part, int batch, int channels) {
  __shared__ T shares[8][32];
  int c = blockIdx.x * 32 + threadIdx.x;
  T sum = 0;
  for (int n = blockIdx.y * 8 + threadIdx.y; n < batch && c < channels; n += gridDim.y * 8) sum += x[n * channels + c];
  shares[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= channels) return;
  for (int i = 1; i < 8; i++) sum += shares[i][threadIdx.x];
  part[blockIdx.y * channels + c] = sum;
}
