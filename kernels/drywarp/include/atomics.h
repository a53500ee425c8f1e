// Atomic operations: real ones, so that the race detector knows them as such.
#pragma once

namespace drywarp {

template <class T, class F> static T exchanged(T *place, F change) {
  T before, after;
  __atomic_load(place, &before, __ATOMIC_RELAXED);
  do {
    after = change(before);
  } while (!__atomic_compare_exchange(place, &before, &after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}

}  // namespace drywarp

#define DRYWARP_ATOMIC(NAME, RESULT) \
  template <class T, class U> static inline T NAME(T *place, U given) { \
    T value = (T)given; \
    return drywarp::exchanged(place, [value](T old) -> T { (void)old; return RESULT; }); \
  }
DRYWARP_ATOMIC(atomicAdd, old + value)
DRYWARP_ATOMIC(atomicSub, old - value)
DRYWARP_ATOMIC(atomicMax, old > value ? old : value)
DRYWARP_ATOMIC(atomicMin, old < value ? old : value)
DRYWARP_ATOMIC(atomicExch, value)
DRYWARP_ATOMIC(atomicOr, old | value)
DRYWARP_ATOMIC(atomicAnd, old & value)
template <class T> static inline T atomicCAS(T *place, T expected, T value) {
  __atomic_compare_exchange(place, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
