// Max-pooling with winners, its gather and its scatter. Planes are [H,W] of one image and channel, in a row.
// An index outside its plane makes NaNs, of the cell gathered or of all cells scattered into: to refuse it, the host
// would have to wait for the device.
#include "common.cuh"

struct Pooling { int planes, height, width, out_height, out_width, k, l, s, t, top, left, d, e, relu; };

template <class T, class I> __global__ void max_pool(const T *x, T *y, I *index, Pooling p) {
  int cell = thread_of_grid();
  if (cell >= p.planes * p.out_height * p.out_width) return;
  int j = cell % p.out_width, i = cell / p.out_width % p.out_height, plane = cell / (p.out_height * p.out_width);
  x += plane * p.height * p.width;
  T best = T(-INFINITY);
  int winner = -1;
  for (int k = 0; k < p.k; k++)
    for (int l = 0; l < p.l; l++) {
      int u = i * p.s + k * p.d - p.top, v = j * p.t + l * p.e - p.left;
      if (u < 0 || u >= p.height || v < 0 || v >= p.width) continue;
      T value = x[u * p.width + v];
      // The first of equals, and the first NaN of all.
      if (winner < 0 || value > best || (value != value && best == best)) {
        best = value;
        winner = u * p.width + v;
      }
    }
  y[cell] = p.relu && best <= 0 ? T(0) : best;
  index[cell] = winner;
}

template <class T, class I> __global__ void gather(const T *plane, const I *index, T *out, int count, int outputs, int cells) {
  int i = thread_of_grid();
  if (i >= count) return;
  I at = index[i];
  out[i] = 0 <= at && at < cells ? plane[i / outputs * cells + at] : T(INFINITY) - T(INFINITY);
}

// Which outputs won a cell, as a list: the last one, and for each output the one that won the same cell before it. The
// lists of a plane fit into shared memory unless it is large. Their order depends on the threads, a sum's must not.
constexpr int NONE = 0xffff, MANY = 32, THREADS = 256, BATCH = 4;  // a thread has BATCH loads in flight

// Like atomicExch, which has no 16-bit version: puts `value` into the place and returns what was there.
__device__ inline int exchange(unsigned short *places, int at, int value) {
  unsigned *word = (unsigned *)places + at / 2;
  unsigned shift = at % 2 * 16, seen = 0xffffffffu, expected;
  do {
    expected = seen;
    seen = atomicCAS(word, expected, (expected & ~(0xffffu << shift)) | (unsigned)value << shift);
  } while (seen != expected);
  return (int)(seen >> shift & 0xffff);
}

// The sum over the list that begins with `first`, in the order of the outputs: of a short list by looking for the next
// one, of a long one by a visit to all outputs of the plane.
template <class T, class I> __device__ T sum_of_wins(const T *y, const I *index, const unsigned short *before,
                                                     int first, int outputs) {
  int wins = 0;
  for (int i = first; i != NONE; i = before[i]) wins++;
  T sum = 0;
  if (wins > MANY) {
    int start = first - first % outputs;
    for (int i = start; i < start + outputs; i++)
      if (index[i] == index[first]) sum += y[i];
    return sum;
  }
  for (int done = -1; wins > 0; wins--) {
    int next = NONE;
    for (int i = first; i != NONE; i = before[i])
      if (i > done) next = min(next, i);
    sum += y[next];
    done = next;
  }
  return sum;
}

// A block takes up to 32 planes together, as if they were one. Most cells are won once or never: all are written as if
// they were, and then those that are not are written anew, by the same thread.
template <class T, class I> __global__ void scatter(const T *__restrict__ y, const I *__restrict__ index, T *out,
                                                    int planes, int together, int outputs, int cells) {
  extern __shared__ __align__(4) unsigned short lists[];
  __shared__ unsigned again, stray;  // whether a cell was won again; a bit for each plane with an index outside it
  int first = blockIdx.x * together, here = min(together, planes - first);
  unsigned short *last = lists, *before = lists + (together * cells + 1) / 2 * 2;
  y += first * outputs;
  index += first * outputs;
  out += first * cells;
  for (int i = threadIdx.x; i < (here * cells + 1) / 2; i += THREADS) ((unsigned *)last)[i] = 0xffffffffu;
  if (threadIdx.x == 0) again = stray = 0;
  __syncthreads();
  bool seen = false;
  for (int begin = threadIdx.x; begin < here * outputs; begin += BATCH * THREADS) {
    I at[BATCH];
    for (int j = 0; j < BATCH; j++) {
      int i = begin + j * THREADS;
      if (i >= here * outputs) break;
      at[j] = index[i];
    }
    for (int j = 0; j < BATCH; j++) {
      int i = begin + j * THREADS;
      if (i >= here * outputs) break;
      int plane = i / outputs;
      if (at[j] < 0 || at[j] >= cells) {
        atomicOr(&stray, 1u << plane);
        continue;
      }
      int won_before = exchange(last, plane * cells + (int)at[j], i);
      before[i] = (unsigned short)won_before;
      seen |= won_before != NONE;
    }
  }
  if (seen) atomicOr(&again, 1u);
  __syncthreads();
  for (int begin = threadIdx.x; begin < here * cells; begin += BATCH * THREADS) {
    T value[BATCH];
    for (int j = 0; j < BATCH; j++) {
      int cell = begin + j * THREADS, i = cell < here * cells ? last[cell] : NONE;
      value[j] = i == NONE ? T(0) : y[i];
    }
    for (int j = 0; j < BATCH; j++)
      if (begin + j * THREADS < here * cells) out[begin + j * THREADS] = value[j];
  }
  if (!again && !stray) return;
  for (int cell = threadIdx.x; cell < here * cells; cell += THREADS) {
    int i = last[cell];
    if (stray && stray >> cell / cells & 1) out[cell] = T(INFINITY) - T(INFINITY);
    else if (i != NONE && before[i] != NONE) out[cell] = sum_of_wins(y, index, before, i, outputs);
  }
}

struct Span { int low, high; };

// A block adds up a large plane without lists: of the outputs in row i it knows between which input rows their winners
// lie, of those in column j between which columns; so a cell looks at few outputs, always in the same order.
template <class T, class I> __global__ void scatter_large(const T *y, const I *index, T *out, int out_height,
                                                          int out_width, int height, int width) {
  extern __shared__ Span spans[];
  __shared__ int stray;
  Span *of_row = spans, *of_column = of_row + out_height, *rows = of_column + out_width, *columns = rows + height;
  int outputs = out_height * out_width, cells = height * width;
  y += blockIdx.x * outputs;
  index += blockIdx.x * outputs;
  out += blockIdx.x * cells;
  for (int i = threadIdx.x; i < out_height + out_width; i += blockDim.x) of_row[i] = {cells, -1};
  if (threadIdx.x == 0) stray = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < outputs; i += blockDim.x) {
    I at = index[i];
    if (at < 0 || at >= cells) {
      atomicOr(&stray, 1);
      continue;
    }
    int u = (int)at / width, v = (int)at % width, r = i / out_width, c = i % out_width;
    atomicMin(&of_row[r].low, u);
    atomicMax(&of_row[r].high, u);
    atomicMin(&of_column[c].low, v);
    atomicMax(&of_column[c].high, v);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < height + width; i += blockDim.x) {  // which outputs may have won in this row or column
    const Span *of = i < height ? of_row : of_column;
    int place = i < height ? i : i - height, count = i < height ? out_height : out_width;
    Span found = {count, -1};
    for (int r = 0; r < count; r++)
      if (of[r].low <= place && place <= of[r].high) found = {min(found.low, r), r};
    rows[i] = found;
  }
  __syncthreads();
  for (int cell = threadIdx.x; cell < cells; cell += blockDim.x) {
    Span r = rows[cell / width], c = columns[cell % width];
    T sum = stray ? T(INFINITY) - T(INFINITY) : T(0);
    for (int i = r.low; i <= r.high; i++)
      for (int j = c.low; j <= c.high; j++)
        if (index[i * out_width + j] == cell) sum += y[i * out_width + j];
    out[cell] = sum;
  }
}
