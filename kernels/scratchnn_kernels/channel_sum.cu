// Sums of each channel of [N,C,pixels], in two steps: a block sums one channel of some images, then
// a thread those sums.
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
