// Fibers: a stack and the registers that a call preserves. A switch is fifteen instructions, no system call.
#pragma once
#if !defined(__x86_64__)
#error "drywarp switches stacks with x86-64 instructions"
#endif

extern "C" __attribute__((visibility("hidden"))) void drywarp_switch(void **save, void *load);
asm(R"(.text
.hidden drywarp_switch
.globl drywarp_switch
.type drywarp_switch,@function
drywarp_switch:
 pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
 movq %rsp,(%rdi); movq %rsi,%rsp
 popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
 ret
.size drywarp_switch,.-drywarp_switch
)");

namespace drywarp {

__attribute__((no_sanitize("thread"), noinline)) static void to_scheduler() {
  Fiber *self = now().current;
#ifdef DRYWARP_RACES
  __tsan_switch_to_fiber(now().main_race_fiber, 1);
#endif
  drywarp_switch(&self->stack_pointer, now().main_stack_pointer);
}

__attribute__((no_sanitize("thread"))) static void to_fiber(Fiber *fiber) {
  now().current = fiber;
#ifdef DRYWARP_RACES
  __tsan_switch_to_fiber(fiber->race_fiber, 1);
#endif
  drywarp_switch(&now().main_stack_pointer, fiber->stack_pointer);
  now().current = nullptr;
}

// Let a fiber begin in `entry` when it is switched to for the first time.
static void prepare(Fiber *fiber, void (*entry)()) {
  void **top = (void **)(fiber->stack + STACK - 64);
  *--top = nullptr;  // where entry would return to
  *--top = (void *)entry;
  for (int i = 0; i < 6; i++) *--top = nullptr;  // the registers that drywarp_switch takes off
  fiber->stack_pointer = top;
}

}  // namespace drywarp
