// The k largest of each row: a warp does one of up to 1024 numbers, a block a longer one.
#include "topk.cuh"

template <class T, int N> __global__ void warp_k_sparse(const T *x, T *y, T *mask, int lines, int length, int k) {
  int row = blockIdx.x * WARPS + threadIdx.x / 32;
  if (row >= lines) return;
  x += row * length;
  y += row * length;
  mask += row * length;
  T held[N];
  load(held, x, length);
  unsigned mine = chosen(held, k);
  int lane = threadIdx.x % 32, left = length - lane;
  for (int j = 0; j < N && j * 32 < left; j++) {
    bool yes = mine >> j & 1;
    y[j * 32 + lane] = yes ? x[j * 32 + lane] : T(0);  // few are read again, and no lane keeps all for it
    mask[j * 32 + lane] = T(yes);
  }
}

// Few candidates are ranked without knowing which of them are the k largest; the k largest of many are sorted. `room`
// for keys and indices of a row is a power of two, and at least FEW and k.
template <class T, int N> __global__ void warp_topk(const T *x, T *values, long long *indices, int lines, int length,
                                                    int k, int room) {
  typedef typename Keys<T>::Key Key;
  extern __shared__ unsigned long long shared[];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = blockIdx.x * WARPS + warp;
  if (row >= lines) return;
  Key *keys = (Key *)shared + warp * room;
  int *found = (int *)((Key *)shared + WARPS * room) + warp * room;
  x += row * length;
  values += row * k;
  indices += row * k;
  T held[N];
  load(held, x, length);
  int count = collect(candidates(held, k), x, keys, found, FEW), rank[FEW / 32];
  if (count <= FEW && ranks_of_few(keys, count, rank)) {
    for (int j = 0; j < FEW / 32; j++) {
      if (rank[j] >= k) continue;
      values[rank[j]] = x[found[j * 32 + lane]];
      indices[rank[j]] = found[j * 32 + lane];
    }
    return;
  }
  if (count > FEW) count = collect(chosen(held, k), x, keys, found, k);
  sort<32>(keys, found, count);
  for (int r = lane; r < k; r += 32) {
    values[r] = x[found[r]];
    indices[r] = found[r];
  }
}

template <class T> __global__ void block_k_sparse(const T *x, T *y, T *mask, int length, int k) {
  x += blockIdx.x * length;
  y += blockIdx.x * length;
  mask += blockIdx.x * length;
  for_each(x, length, k, [&](int i, int place) {
    y[i] = place >= 0 ? x[i] : T(0);
    mask[i] = T(place >= 0);
  });
}

// `keys` and `found` are memory of `room` numbers a row, a power of two and at least k.
template <class T> __global__ void block_topk(const T *x, typename Keys<T>::Key *keys, int *found, T *values,
                                              long long *indices, int length, int k, int room) {
  x += blockIdx.x * length;
  keys += blockIdx.x * room;
  found += blockIdx.x * room;
  for_each(x, length, k, [&](int i, int place) {
    if (place < 0) return;
    keys[place] = Keys<T>::of(x[i]);
    found[place] = i;
  });
  sort<THREADS>(keys, found, k);
  for (int r = threadIdx.x; r < k; r += THREADS) {
    values[blockIdx.x * k + r] = x[found[r]];
    indices[blockIdx.x * k + r] = found[r];
  }
}
