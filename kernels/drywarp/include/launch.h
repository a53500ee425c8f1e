// A launch: the grid's blocks one after another, and the entry points by which Python calls a kernel.
#pragma once
#include <csignal>
#include <sys/mman.h>

namespace drywarp {

static void on_signal(int number, siginfo_t *info, void *) {
  Launch &s = now();
  uint3 b = s.block_index, t = s.current ? s.current->thread : uint3{0, 0, 0};
  const char *what = number == SIGILL ? "undefined behaviour (an index beyond a declared array, a misaligned access, an "
                                        "overflow, a bad shift or a division by zero)"
                     : number == SIGFPE ? "an integer division by zero" : "a bad memory access";
  snprintf(s.error, sizeof s.error, "block (%u,%u,%u) thread (%u,%u,%u): %s at %p", b.x, b.y, b.z, t.x, t.y, t.z, what,
           info->si_addr);
  s.failed = true;
  siglongjmp(s.way_out, 1);
}

static char *reserve(size_t size, int protection) {
  return (char *)mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

// Schedules 0 and 1 go forwards, 2 and 3 backwards, others in a random order of that seed.
DRYWARP_INTERNAL static void order(unsigned *turn, unsigned count) {
  Launch &s = now();
  for (unsigned i = 0; i < count; i++) turn[i] = s.schedule >> 1 == 1 ? count - 1 - i : i;
  if (s.schedule < 4) return;
  for (unsigned i = count; i-- > 1;) {
    s.random = s.random * 6364136223846793005ull + 1442695040888963407ull;
    std::swap(turn[i], turn[(s.random >> 33) % (i + 1)]);
  }
}

static void make_room(unsigned threads) {
  Launch &s = now();
  if (threads <= s.room) return;
  s.fibers = (Fiber *)realloc(s.fibers, threads * sizeof(Fiber));
  memset(s.fibers + s.room, 0, (threads - s.room) * sizeof(Fiber));
  for (unsigned i = s.room; i < threads; i++) {
    char *stack = reserve(STACK + PAGE, PROT_READ | PROT_WRITE);
    mprotect(stack, PAGE, PROT_NONE);  // an overflow faults
    s.fibers[i].stack = stack + PAGE;
  }
  s.warps = (Warp *)realloc(s.warps, (threads + 31) / 32 * sizeof(Warp));
  s.room = threads;
}

// Dynamic shared memory between unreadable pages: it ends at one in even schedules, and begins at one in odd ones.
static void place_dynamic(unsigned size) {
  static constexpr size_t FENCE = 1 << 20;
  Launch &s = now();
  if (!s.dynamic_map) s.dynamic_map = reserve(3 * FENCE, PROT_NONE);
  size_t whole = (size + PAGE - 1) / PAGE * PAGE;
  mprotect(s.dynamic_map, 3 * FENCE, PROT_NONE);
  mprotect(s.dynamic_map + FENCE, whole, PROT_READ | PROT_WRITE);
  size_t slack = s.schedule & 1 ? 0 : (whole - size) / 16 * 16;
  s.dynamic_pages = s.dynamic_map + FENCE;
  s.dynamic = s.dynamic_pages + slack;
  s.dynamic_size = whole;
}

template <class T> static T *dynamic_shared() { return reinterpret_cast<T *>(now().dynamic); }

static const char *refusal(const unsigned *grid, const unsigned *block, unsigned shared) {
  uint64_t threads = (uint64_t)block[0] * block[1] * block[2];
  if (!threads || threads > 1024 || block[2] > 64) return "the block has no thread, or more than 1024";
  if (!grid[0] || !grid[1] || !grid[2]) return "the grid has no block";
  if (grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535) return "the grid is too large";
  if (shared > 227 * 1024) return "more dynamic shared memory than a block can have (227 KiB)";
  return nullptr;
}

DRYWARP_INTERNAL static void run_grid() {
  Launch &s = now();
  unsigned blocks = s.grid.x * s.grid.y * s.grid.z;
  unsigned *turn = (unsigned *)malloc(sizeof(unsigned) * s.threads), *block_turn = (unsigned *)malloc(sizeof(unsigned) * blocks);
  stack_t stack = {malloc(65536), 0, 65536}, stack_before;
  sigaltstack(&stack, &stack_before);
  struct sigaction action = {}, before[4];
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
  for (int i = 0; i < 4; i++) sigaction(signals[i], &action, &before[i]);
  if (!sigsetjmp(s.way_out, 1)) {
    order(block_turn, blocks);
#ifdef DRYWARP_RACES
    s.main_race_fiber = __tsan_get_current_fiber();
#endif
    for (unsigned i = 0; i < blocks; i++) {
      unsigned b = block_turn[i];
      s.block_index = {b % s.grid.x, b / s.grid.x % s.grid.y, b / (s.grid.x * s.grid.y)};
      order(turn, s.threads);
      run_block(turn);
    }
    DRYWARP_ACQUIRE(&s.block_order[1]);
  }
  for (int i = 0; i < 4; i++) sigaction(signals[i], &before[i], nullptr);
  sigaltstack(&stack_before, nullptr);
  free(stack.ss_sp);
  free(turn);
  free(block_turn);
  fill(__bss_start, 0, _end - __bss_start);
}

DRYWARP_INTERNAL static int launch(void (*kernel)(void **), const unsigned *grid, const unsigned *block, unsigned shared,
                                   void **arguments, int schedule, char *error, int room) {
  if (launch_ == (Launch *)1) launch_ = (Launch *)calloc(1, sizeof(Launch));
  Launch &s = now();
  if (const char *why = refusal(grid, block, shared)) {
    snprintf(error, room, "invalid launch: %s", why);
    return 1;
  }
  s.grid = {grid[0], grid[1], grid[2]};
  s.block = {block[0], block[1], block[2]};
  s.threads = block[0] * block[1] * block[2];
  s.kernel = kernel;
  s.arguments = arguments;
  s.failed = false;
  s.random = s.schedule = schedule;
  make_room(s.threads);
  place_dynamic(shared);
  run_grid();
  if (s.failed) snprintf(error, room, "%s", s.error);
  return s.failed;
}

template <class... A, size_t... I>
DRYWARP_INTERNAL static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
  kernel(*(std::remove_const_t<A> *)arguments[I]...);
}
template <class... A> static void call(void (*kernel)(A...), void **arguments) {
  call(kernel, arguments, std::index_sequence_for<A...>{});
}

// What a parameter is, and its size: p a pointer, with what it points at; f, i, s a number or a struct by value.
template <class T> constexpr int kind() {
  return std::is_floating_point_v<T> ? 'f' : std::is_integral_v<T> ? 'i' : std::is_void_v<T> ? 'v' : 's';
}
template <class T> constexpr int size_of() {
  if constexpr (std::is_void_v<T>) return 1;
  else return (int)sizeof(T);
}
template <class A> static void describe(int *&out) {
  using Pointee = std::remove_cv_t<std::remove_pointer_t<A>>;
  *out++ = std::is_pointer_v<A> ? 'p' : kind<A>();
  *out++ = (int)sizeof(A);
  *out++ = kind<Pointee>();
  *out++ = size_of<Pointee>();
}
template <class... A> static int signature(void (*)(A...), int *out) {
  (describe<A>(out), ...);
  return (int)sizeof...(A);
}

}  // namespace drywarp

#define DRYWARP_PUBLIC extern "C" __attribute__((visibility("default")))
#define DRYWARP_EXPORT(i, ...) \
  DRYWARP_PUBLIC void drywarp_kernel_##i(void **arguments) { drywarp::call(&__VA_ARGS__, arguments); } \
  DRYWARP_PUBLIC int drywarp_signature_##i(int *out) { return drywarp::signature(&__VA_ARGS__, out); }
#define DRYWARP_MAIN() \
  DRYWARP_PUBLIC int drywarp_launch(void (*kernel)(void **), const unsigned *grid, const unsigned *block, unsigned shared, \
                                    void **arguments, int schedule, char *error, int room) { \
    return drywarp::launch(kernel, grid, block, shared, arguments, schedule, error, room); \
  }
