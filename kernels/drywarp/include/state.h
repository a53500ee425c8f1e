// All that a launch knows: its grid, its fibers, its warps, the error that ended it.
#pragma once
#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#if defined(__SANITIZE_THREAD__)
#define DRYWARP_RACES 1
extern "C" {
void *__tsan_get_current_fiber();
void *__tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void *, unsigned);
void __tsan_acquire(void *);
void __tsan_release(void *);
}
#define DRYWARP_INTERNAL __attribute__((no_sanitize("thread"), noinline))  // the race detector does not see the emulator
#define DRYWARP_ACQUIRE(object) __tsan_acquire(object)
#define DRYWARP_RELEASE(object) __tsan_release(object)
#else
#define DRYWARP_INTERNAL
#define DRYWARP_ACQUIRE(object) ((void)(object))
#define DRYWARP_RELEASE(object) ((void)(object))
#endif

namespace drywarp {

enum class State : unsigned char { ready, at_barrier, in_collective, done };

struct Copy {  // a cp.async on its way: `filled` bytes from `source`, zeros up to `size`
  void *target;
  const void *source;
  unsigned size, filled;
  int group;
};

struct Fiber {
  void *stack_pointer;
  char *stack;
  void *race_fiber;  // ThreadSanitizer's
  uint3 thread;
  unsigned rank;  // in the block
  State state;
  int line;       // where it waits
  unsigned mask;  // of the warp collective that it is in
  int result;     // which buffer of its warp holds what the last collective gave; -1 for none
  unsigned collectives;
  Copy *copies;
  int pending, room, group;
};

struct Slot { alignas(16) unsigned char bytes[48]; };

struct Warp {
  Slot given[32], taken[33][32];  // a lane holds at most one unread result, so one buffer of 33 is always free
  int readers[33];
  char order[2];  // addresses for the race detector, by the parity of the collective
};

struct Launch {
  dim3 grid, block;
  uint3 block_index;
  Fiber *fibers, *current;
  Warp *warps;
  unsigned threads, room, done, waiting;
  char *dynamic, *dynamic_map, *dynamic_pages;
  size_t dynamic_size;  // of whole pages
  void (*kernel)(void **);
  void **arguments;
  void *main_stack_pointer, *main_race_fiber;
  int schedule;
  uint64_t random;
  unsigned barriers;
  char barrier_order[2], block_order[2];  // addresses for the race detector
  bool failed;
  char error[512];
  sigjmp_buf way_out;
};

// The initialiser is not zero, so that the pointer is in .data: .bss is shared memory, and poisoned.
static Launch *launch_ = (Launch *)1;
static inline Launch &now() { return *launch_; }

static constexpr size_t STACK = 64 * 1024, PAGE = 4096;
static constexpr unsigned FULL = 0xffffffffu;

// End the launch: one message, with the thread that caused it.
[[noreturn]] static void fail(const char *format, int a = 0, int b = 0) {
  Launch &s = now();
  uint3 t = s.current ? s.current->thread : uint3{0, 0, 0};
  int used = snprintf(s.error, sizeof s.error, "block (%u,%u,%u) thread (%u,%u,%u): ", s.block_index.x, s.block_index.y,
                      s.block_index.z, t.x, t.y, t.z);
  snprintf(s.error + used, sizeof s.error - used, format, a, b);
  s.failed = true;
  siglongjmp(s.way_out, 1);
}

// What memory that nobody wrote holds: a NaN as float and as double, and as an integer no value that kernels begin with.
constexpr unsigned POISON = 0xfff5a5a5;

// memset and memcpy that the race detector does not see: it would intercept the library's own.
DRYWARP_INTERNAL static void fill(char *target, unsigned word, size_t size) {
#ifdef DRYWARP_RACES
  for (size_t i = 0; i < size; i++) {
    target[i] = (char)(word >> i % 4 * 8);
    asm volatile("" ::: "memory");
  }
#else
  for (size_t i = 0; i < size; i++) target[i] = (char)(word >> i % 4 * 8);
#endif
}

DRYWARP_INTERNAL static void copy(void *target, const void *source, size_t size) {
  for (size_t i = 0; i < size; i++) {
    ((char *)target)[i] = ((const char *)source)[i];
    asm volatile("" ::: "memory");
  }
}

}  // namespace drywarp
