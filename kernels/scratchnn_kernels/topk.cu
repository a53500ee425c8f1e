// The k largest of each row: radix select finds the k-th key, four bits a round, and the rest is order. A block a row.
#include "common.cuh"

// Keys are unsigned integers that grow with the numbers; both zeros are one key, and a NaN is as large as infinity.
template <class T> struct Keys;
template <> struct Keys<float> {
  typedef unsigned Key;
  static __device__ Key of(float x) {
    if (x != x) x = INFINITY;
    unsigned bits = __float_as_uint(x == 0 ? 0.f : x);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  }
};
template <> struct Keys<double> {
  typedef unsigned long long Key;
  static __device__ Key of(double x) {
    if (x != x) x = INFINITY;
    unsigned long long bits = (unsigned long long)__double_as_longlong(x == 0 ? 0. : x);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
  }
};

constexpr int DIGIT = 4, BINS = 1 << DIGIT, THREADS = 256;

template <class Key> struct Threshold {
  Key key;    // the k-th largest
  int ties;  // how many that equal it are among the k
};

template <class T> __device__ Threshold<typename Keys<T>::Key> kth_largest(const T *x, int length, int k) {
  typedef typename Keys<T>::Key Key;
  __shared__ int count[BINS];
  Key known = 0;
  for (int shift = 8 * sizeof(Key) - DIGIT; shift >= 0; shift -= DIGIT) {
    __syncthreads();  // all have read the last counts
    if (threadIdx.x < BINS) count[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < length; i += THREADS) {
      Key key = Keys<T>::of(x[i]);
      if (key >> shift >> DIGIT == known) atomicAdd(&count[(int)(key >> shift) & (BINS - 1)], 1);
    }
    __syncthreads();
    int bin = BINS - 1;
    for (; k > count[bin]; bin--) k -= count[bin];
    known = known << DIGIT | (Key)bin;
  }
  return {known, k};
}

// How many of the block's threads before this one say yes; the same for all threads: `all`.
__device__ inline int yes_before(bool yes, int &all) {
  __shared__ int of_warp[THREADS / 32];
  unsigned votes = __ballot_sync(0xffffffffu, yes), before = votes & ((1u << threadIdx.x % 32) - 1);
  __syncthreads();  // all have read the last sums
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = __popc(votes);
  __syncthreads();
  int sum = __popc(before);
  all = 0;
  for (int w = 0; w < THREADS / 32; w++) {
    if (w < threadIdx.x / 32) sum += of_warp[w];
    all += of_warp[w];
  }
  return sum;
}

// Call `use(i, place)` for each chosen index i, place counting the chosen ones in the order of i, and `use(i, -1)` else.
template <class T, class Use> __device__ void for_each(const T *x, int length, int k, Use use) {
  auto threshold = kth_largest(x, length, k);
  int ties = 0, chosen = 0;
  for (int first = 0; first < length; first += THREADS) {
    int i = first + threadIdx.x, equal_here, chosen_here;
    auto key = i < length ? Keys<T>::of(x[i]) : 0;
    bool equal = i < length && key == threshold.key;
    int rank = ties + yes_before(equal, equal_here);
    bool mine = i < length && (key > threshold.key || (equal && rank < threshold.ties));
    int place = chosen + yes_before(mine, chosen_here);
    if (i < length) use(i, mine ? place : -1);
    ties += equal_here;
    chosen += chosen_here;
  }
}

template <class T> __global__ void k_sparse(const T *x, T *y, T *mask, int length, int k) {
  x += blockIdx.x * length;
  y += blockIdx.x * length;
  mask += blockIdx.x * length;
  for_each(x, length, k, [&](int i, int place) {
    y[i] = place >= 0 ? x[i] : T(0);
    mask[i] = T(place >= 0);
  });
}

// `chosen` holds k indices a row: the k largest, in the order in which they stand.
template <class T> __global__ void topk(const T *x, int *chosen, T *values, long long *indices, int length, int k) {
  x += blockIdx.x * length;
  chosen += blockIdx.x * k;
  for_each(x, length, k, [&](int i, int place) {
    if (place >= 0) chosen[place] = i;
  });
  __syncthreads();
  for (int a = threadIdx.x; a < k; a += THREADS) {
    int i = chosen[a], rank = 0;
    auto key = Keys<T>::of(x[i]);
    for (int b = 0; b < k; b++) {
      auto other = Keys<T>::of(x[chosen[b]]);
      rank += other > key || (other == key && b < a);
    }
    values[blockIdx.x * k + rank] = x[i];
    indices[blockIdx.x * k + rank] = i;
  }
}
