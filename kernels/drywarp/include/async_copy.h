// cp.async. A copy may land at any time before it is waited for; here it lands at the last moment that is legal.
#pragma once

namespace drywarp {

// Copy `size` bytes (4, 8 or 16) to shared memory: `filled` of them from `source`, then zeros.
DRYWARP_INTERNAL static void async_copy(void *target, const void *source, unsigned size, unsigned filled) {
  Fiber *f = now().current;
  if (size != 4 && size != 8 && size != 16) fail("cp.async copies 4, 8 or 16 bytes, not %d", (int)size);
  if ((uintptr_t)target % size || (filled && (uintptr_t)source % size)) fail("cp.async of %d bytes is misaligned", (int)size);
  if (f->pending == f->room) {
    f->room = f->room ? 2 * f->room : 64;
    f->copies = (Copy *)realloc(f->copies, f->room * sizeof(Copy));
  }
  f->copies[f->pending++] = {target, source, size, filled, f->group};
}

DRYWARP_INTERNAL static void async_commit() { now().current->group++; }

// Wait until at most `most` of the committed groups are on their way.
static void async_wait(int most) {
  Fiber *f = now().current;
  int kept = 0;
  for (int i = 0; i < f->pending; i++) {
    Copy &c = f->copies[i];
    if (c.group < f->group - most) {
      memcpy(c.target, c.source, c.filled);
      memset((char *)c.target + c.filled, 0, c.size - c.filled);
    } else {
      f->copies[kept++] = c;
    }
  }
  f->pending = kept;
}

}  // namespace drywarp
