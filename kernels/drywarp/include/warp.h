// What the lanes of a warp do together: shuffles, ballots, __syncwarp. Each waits until all lanes of its mask are there.
#pragma once

namespace drywarp {

DRYWARP_INTERNAL static unsigned lane() { return now().current->rank & 31; }
DRYWARP_INTERNAL static Warp &own_warp() { return now().warps[now().current->rank >> 5]; }
DRYWARP_INTERNAL static const unsigned char *given_by(int other) {
  return own_warp().taken[now().current->result][other].bytes;
}

// Whether all lanes of the mask wait in this collective; a lane that cannot come any more is an error.
DRYWARP_INTERNAL static bool all_there(unsigned first, unsigned mask, int line) {
  bool all = true;
  for (unsigned i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    Fiber &other = now().fibers[first + i];
    if (other.state == State::done) fail("the warp collective in line %d: lane %d of its mask has exited", line, (int)i);
    if (other.state != State::in_collective || other.mask != mask) all = false;
    else if (other.line != line) fail("warp divergence: a collective in line %d, and one in line %d", line, other.line);
  }
  return all;
}

DRYWARP_INTERNAL static void hand_out(unsigned first, unsigned mask, size_t size) {
  Warp &w = own_warp();
  int free = 0;
  while (w.readers[free]) free++;
  for (unsigned i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    copy(w.taken[free][i].bytes, w.given[i].bytes, size);
    now().fibers[first + i].state = State::ready;
    now().fibers[first + i].result = free;
    w.readers[free]++;
  }
}

// Give `size` bytes to the other lanes of the mask; afterwards given_by(lane) is what they gave.
DRYWARP_INTERNAL static void collective(unsigned mask, int line, const void *value, size_t size) {
  Launch &s = now();
  Fiber *self = s.current;
  Warp &w = own_warp();
  unsigned own = lane(), first = self->rank - own;
  if (!(mask >> own & 1)) fail("the warp collective in line %d: the calling lane is not in its mask", line);
  unsigned lanes = min(32u, s.threads - first), there = lanes == 32 ? FULL : (1u << lanes) - 1;
  if (mask == FULL) mask = there;  // the last warp of a block may be short
  if (mask & ~there) fail("the warp collective in line %d: its mask names a lane beyond the block", line);
  if (self->result >= 0) w.readers[self->result]--;
  self->result = -1;
  copy(w.given[own].bytes, value, size);
  char *order = &w.order[self->collectives++ & 1];
  DRYWARP_RELEASE(order);
  self->state = State::in_collective;
  self->mask = mask;
  self->line = line;
  if (all_there(first, mask, line)) hand_out(first, mask, size);
  to_scheduler();
  DRYWARP_ACQUIRE(order);
}

template <class T> DRYWARP_INTERNAL static T shuffle(unsigned mask, T value, int source, int line, bool in_range) {
  static_assert(sizeof(T) <= 16, "a shuffle moves at most 16 bytes");
  collective(mask, line, &value, sizeof value);
  if (!in_range) return value;
  if (!(now().current->mask >> source & 1)) fail("the shuffle in line %d reads lane %d, which is not in its mask", line, source);
  T result;
  copy(&result, given_by(source), sizeof result);
  return result;
}
template <class T> static T shuffle_down(unsigned mask, T v, unsigned by, int width, int line) {
  int l = lane();
  return shuffle(mask, v, l + (int)by, line, (l & (width - 1)) + (int)by < width);
}
template <class T> static T shuffle_up(unsigned mask, T v, unsigned by, int width, int line) {
  int l = lane();
  return shuffle(mask, v, l - (int)by, line, (l & (width - 1)) >= (int)by);
}
template <class T> static T shuffle_xor(unsigned mask, T v, int by, int width, int line) {
  int l = lane(), source = l ^ by;
  return shuffle(mask, v, source, line, source < (l & ~(width - 1)) + width);
}
template <class T> static T shuffle_from(unsigned mask, T v, int index, int width, int line) {
  int l = lane();
  return shuffle(mask, v, (l & ~(width - 1)) + (index & (width - 1)), line, true);
}
DRYWARP_INTERNAL static unsigned ballot(unsigned mask, int vote, int line) {
  unsigned char own = vote != 0;
  collective(mask, line, &own, 1);
  unsigned votes = 0;
  for (int i = 0; i < 32; i++)
    if (now().current->mask >> i & 1) votes |= (unsigned)given_by(i)[0] << i;
  return votes;
}
DRYWARP_INTERNAL static void sync_warp(int line, unsigned mask = FULL) {
  char nothing = 0;
  collective(mask, line, &nothing, 1);
}
static inline int width_or_32(int width = 32) { return width; }

}  // namespace drywarp

#define __syncwarp(...) drywarp::sync_warp(__LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_down_sync(m, v, d, ...) drywarp::shuffle_down(m, v, d, drywarp::width_or_32(__VA_ARGS__), __LINE__)
#define __shfl_up_sync(m, v, d, ...) drywarp::shuffle_up(m, v, d, drywarp::width_or_32(__VA_ARGS__), __LINE__)
#define __shfl_xor_sync(m, v, x, ...) drywarp::shuffle_xor(m, v, x, drywarp::width_or_32(__VA_ARGS__), __LINE__)
#define __shfl_sync(m, v, i, ...) drywarp::shuffle_from(m, v, i, drywarp::width_or_32(__VA_ARGS__), __LINE__)
#define __ballot_sync(m, p) drywarp::ballot(m, p, __LINE__)
#define __any_sync(m, p) (drywarp::ballot(m, p, __LINE__) != 0)
#define __all_sync(m, p) (drywarp::ballot(m, !(p), __LINE__) == 0)
