// A block of threads: its barrier, and the schedule by which its fibers run. A thread runs until it blocks, so a missing
// barrier is a wrong number in some schedule, and not luck.
#pragma once

#define threadIdx (drywarp::now().current->thread)
#define blockIdx (drywarp::now().block_index)
#define blockDim (drywarp::now().block)
#define gridDim (drywarp::now().grid)
#define warpSize 32
#define __syncthreads() drywarp::barrier(__LINE__)

extern "C" __attribute__((visibility("hidden"))) char __bss_start[], _end[];  // the linker's: static shared memory

namespace drywarp {

// Exited threads take no part in a barrier.
DRYWARP_INTERNAL static void open_if_complete() {
  Launch &s = now();
  if (!s.waiting || s.waiting != s.threads - s.done) return;
  for (unsigned i = 0; i < s.threads; i++)
    if (s.fibers[i].state == State::at_barrier) s.fibers[i].state = State::ready;
  s.waiting = 0;
  s.barriers++;
}

DRYWARP_INTERNAL static void barrier(int line) {
  Launch &s = now();
  Fiber *self = s.current;
  // By parity: the next arrival of a fast thread must not seem to precede what a slow one does.
  char *order = &s.barrier_order[s.barriers & 1];
  DRYWARP_RELEASE(order);
  self->line = line;
  for (unsigned i = 0; s.waiting && i < s.threads; i++)
    if (s.fibers[i].state == State::at_barrier) {
      if (s.fibers[i].line != line)
        fail("barrier divergence: __syncthreads in line %d, while another thread waits in line %d", line, s.fibers[i].line);
      break;
    }
  self->state = State::at_barrier;
  s.waiting++;
  open_if_complete();
  to_scheduler();  // also the last to arrive: the order of the schedule stays what it is
  DRYWARP_ACQUIRE(order);
}

DRYWARP_INTERNAL __attribute__((noinline)) static void run_thread() {
  Launch &s = now();
  Fiber *self = s.current;
  DRYWARP_ACQUIRE(&s.block_order[0]);
  s.kernel(s.arguments);
  DRYWARP_RELEASE(&s.block_order[1]);
  self->state = State::done;
  s.done++;
  open_if_complete();
  to_scheduler();
  abort();
}

__attribute__((no_sanitize("thread"))) static void begin_block() {
  Launch &s = now();
  s.done = s.waiting = 0;
  DRYWARP_ACQUIRE(&s.block_order[1]);  // blocks are ordered for the race detector: it looks inside of a block
  fill(__bss_start, POISON, _end - __bss_start);
  fill(s.dynamic_pages, POISON, s.dynamic_size);
  for (unsigned i = 0; i < s.threads; i++) {
    Fiber &f = s.fibers[i];
    f.state = State::ready;
    f.pending = f.group = 0;
    f.collectives = 0;
    f.result = -1;
    f.rank = i;
    f.thread = {i % s.block.x, i / s.block.x % s.block.y, i / (s.block.x * s.block.y)};
    if (i % 32 == 0) memset(s.warps[i / 32].readers, 0, sizeof s.warps[0].readers);
#ifdef DRYWARP_RACES
    if (!f.race_fiber) f.race_fiber = __tsan_create_fiber(0);  // dear, so it serves again
#endif
    prepare(&f, run_thread);
  }
  DRYWARP_RELEASE(&s.block_order[0]);
}

// Run every fiber that can run once, in the order of `turn`.
__attribute__((no_sanitize("thread"))) static bool breadth_first(const unsigned *turn) {
  bool ran = false;
  for (unsigned i = 0; i < now().threads; i++) {
    Fiber *fiber = &now().fibers[turn[i]];
    if (fiber->state == State::ready) {
      to_fiber(fiber);
      ran = true;
    }
  }
  return ran;
}

// Run each warp as far as it gets before the next one begins.
__attribute__((no_sanitize("thread"))) static bool warp_first(const unsigned *turn) {
  bool ran = false;
  for (unsigned i = 0; i < now().threads; i++)
    for (bool again = true; again;) {
      again = false;
      unsigned first = turn[i] & ~31u;
      for (unsigned j = first; j < first + 32 && j < now().threads; j++)
        if (now().fibers[j].state == State::ready) {
          to_fiber(&now().fibers[j]);
          ran = again = true;
        }
    }
  return ran;
}

__attribute__((no_sanitize("thread"))) static void run_block(const unsigned *turn) {
  Launch &s = now();
  begin_block();
  while (s.done < s.threads)
    if (!(s.schedule & 1 ? warp_first(turn) : breadth_first(turn))) {
      for (unsigned i = 0; i < s.threads; i++)
        if (s.fibers[i].state != State::done) s.current = &s.fibers[i];
      if (s.current->state == State::at_barrier)
        fail("deadlock: it waits at the __syncthreads in line %d, where others never arrive", s.current->line);
      fail("deadlock: it waits in the warp collective in line %d, where others never arrive", s.current->line);
    }
}

}  // namespace drywarp
