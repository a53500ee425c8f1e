// Which numbers of a row are its k largest. A warp holds up to 1024 in registers, and finds the k-th key by bisection; a
// block visits a longer row in memory, and finds it by radix select, four bits a round.
#pragma once
#include "reduce.cuh"

// Keys are unsigned integers that grow with the numbers; both zeros are one key, and a NaN is as large as infinity.
// They are made of the bits alone, because a comparison takes subnormal floats for zeros. -inf has key 0, and what is
// beyond it, negative NaNs, wraps around.
template <class T> struct Keys;
template <> struct Keys<float> {
  typedef unsigned Key;
  static constexpr Key BELOW = 0x00800000u, MOST = 0xff000000u;
  static __device__ Key of(float x) {
    Key bits = __float_as_uint(x);
    return min((bits >> 31 ? 0u - bits : bits + 0x80000000u) - BELOW, MOST);
  }
};
template <> struct Keys<double> {
  typedef unsigned long long Key;
  static constexpr Key BELOW = 0x0010000000000000ull, MOST = 0xffe0000000000000ull;
  static __device__ Key of(double x) {
    Key bits = (Key)__double_as_longlong(x);
    return min((bits >> 63 ? 0ull - bits : bits + 0x8000000000000000ull) - BELOW, MOST);
  }
};

constexpr int DIGIT = 4, BINS = 1 << DIGIT, THREADS = 256;
constexpr unsigned ALL = 0xffffffffu;

template <class Key> struct Threshold {
  Key key;   // what is larger is among the k largest
  int ties;  // how many that equal it are, too
};

// Bitonic sort by WIDTH threads: the largest key first, of equal ones the lowest index. There must be room for a power
// of two of pairs; the smallest of all fill it.
template <int WIDTH, class Key> __device__ void sort(Key *keys, int *indices, int count) {
  int size = 1 << (32 - __clz(count - 1));
  for (int i = count + threadIdx.x % WIDTH; i < size; i += WIDTH) {
    keys[i] = 0;
    indices[i] = 0x7fffffff;
  }
  WIDTH == 32 ? __syncwarp() : __syncthreads();
  for (int run = 2; run <= size; run *= 2)
    for (int distance = run / 2; distance; distance /= 2) {
      for (int i = threadIdx.x % WIDTH; i < size / 2; i += WIDTH) {
        int a = 2 * i - (i & (distance - 1)), b = a + distance, first = indices[a], second = indices[b];
        Key one = keys[a], other = keys[b];
        bool falling = one > other || (one == other && first < second);
        if (falling == !(a & run)) continue;
        keys[a] = other;
        keys[b] = one;
        indices[a] = second;
        indices[b] = first;
      }
      WIDTH == 32 ? __syncwarp() : __syncthreads();
    }
}

// --- a warp a row: lane l holds the numbers l, l + 32, .. ---

constexpr int WARPS = 2, FEW = 64;

struct Smallest {
  template <class T> __device__ T operator()(T a, T b) const { return b < a ? b : a; }
};

// What is beyond the row is the smallest of all, and comes last: it is never among the k largest.
template <class T, int N> __device__ void load(T (&held)[N], const T *x, int length) {
  int lane = threadIdx.x % 32, left = length - lane;
  for (int j = 0; j < N; j++) held[j] = j * 32 < left ? x[j * 32 + lane] : T(-INFINITY);
}

// Of the lanes' largest numbers the k-th largest, at most the 32nd: k numbers of the row are at least as large.
template <class V> __device__ V kth_of_lanes(V largest, int k) {
  int larger = 0;
  for (int lane = 0; lane < 32; lane++) larger += __shfl_sync(ALL, largest, lane) > largest;
  V most = warp_reduce<Largest>(largest);
  return warp_reduce<Smallest>(larger < k ? largest : most);
}

template <int N, class Key> __device__ int count_from(const Key (&keys)[N], Key least) {
  int count = 0;
  for (int j = 0; j < N; j++) count += keys[j] >= least;
  return warp_reduce<Sum>(count);
}

// Bisection, until the keys from `low` on are k: at least k are all the time, and fewer from `high` on.
template <int N, class Key> __device__ Threshold<Key> kth_of_warp(const Key (&keys)[N], int k) {
  Key largest = 0;
  for (int j = 0; j < N; j++) largest = max(largest, keys[j]);
  Key low = k <= 32 ? kth_of_lanes(largest, k) : 0, high = warp_reduce<Largest>(largest) + 1;
  int from_high = 0;
  while (high - low > 1) {
    Key middle = low + (high - low) / 2;
    int count = count_from(keys, middle);
    if (count == k) return {middle - 1, 0};
    if (count > k) {
      low = middle;
    } else {
      high = middle;
      from_high = count;
    }
  }
  return {low, k - from_high};
}

// The k largest: bit j stands for the lane's number j.
template <class T, int N> __device__ unsigned chosen(const T (&held)[N], int k) {
  typename Keys<T>::Key keys[N];
  for (int j = 0; j < N; j++) keys[j] = Keys<T>::of(held[j]);
  auto threshold = kth_of_warp(keys, k);
  unsigned mine = 0, before = (1u << threadIdx.x % 32) - 1;
  for (int j = 0; j < N; j++) mine |= (unsigned)(keys[j] > threshold.key) << j;
  int ties = threshold.ties;
#pragma unroll
  for (int j = 0; j < N && ties > 0; j++) {
    bool equal = keys[j] == threshold.key;
    unsigned votes = __ballot_sync(ALL, equal);
    mine |= (unsigned)(equal && __popc(votes & before) < ties) << j;
    ties -= __popc(votes);
  }
  return mine;
}

// What may be among the k largest, by a bound that costs no bisection. Comparisons of T take subnormal floats for
// zeros, so that more may, but never fewer; NaNs may, too.
template <class T, int N> __device__ unsigned candidates(const T (&held)[N], int k) {
  T largest = -INFINITY;
  for (int j = 0; j < N; j++) largest = fmax(largest, held[j]);
  T bound = k <= 32 ? kth_of_lanes(largest, k) : T(-INFINITY);
  unsigned mine = 0;
  for (int j = 0; j < N; j++) mine |= (unsigned)!(held[j] < bound) << j;
  return mine;
}

// The sum of n over the lanes before this one; over all lanes: `all`.
__device__ inline int sum_before(int n, int &all) {
  int sum = n;
  for (int distance = 1; distance < 32; distance *= 2) {
    int other = __shfl_up_sync(ALL, sum, distance);
    if (threadIdx.x % 32 >= distance) sum += other;
  }
  all = __shfl_sync(ALL, sum, 31);
  return sum - n;
}

// How many numbers the bits `mine` of all lanes stand for; their keys and indices are written unless they are more
// than `most`.
template <class T, class Key> __device__ int collect(unsigned mine, const T *x, Key *keys, int *found, int most) {
  int count, place = sum_before(__popc(mine), count);
  for (; mine && count <= most; mine &= mine - 1, place++) {
    int i = (__ffs(mine) - 1) * 32 + threadIdx.x % 32;
    keys[place] = Keys<T>::of(x[i]);
    found[place] = i;
  }
  __syncwarp();
  return count;
}

// The ranks of the few keys of a warp; a lane's are number `lane` and `lane + 32`. Whether they are all different:
// then they add up to 0 + 1 + .., and equal keys make the sum smaller.
template <class Key> __device__ bool ranks_of_few(const Key *keys, int count, int (&rank)[FEW / 32]) {
  int sum = 0;
  Key own[FEW / 32];
  for (int j = 0; j < FEW / 32; j++) {
    int place = j * 32 + threadIdx.x % 32;
    own[j] = place < count ? keys[place] : 0;
    rank[j] = place < count ? 0 : count;
  }
  for (int i = 0; i < count; i++) {
    Key key = keys[i];
    for (int j = 0; j < FEW / 32; j++) rank[j] += key > own[j];
  }
  for (int j = 0; j < FEW / 32; j++) sum += rank[j] < count ? rank[j] : 0;
  return warp_reduce<Sum>(sum) == count * (count - 1) / 2;
}

// --- a block a row ---

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
  unsigned votes = __ballot_sync(ALL, yes), before = votes & ((1u << threadIdx.x % 32) - 1);
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
