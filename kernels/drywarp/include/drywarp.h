// drywarp: CUDA C++ on a CPU, one fiber for each CUDA thread, in one thread of the operating system.
// Included by force before the .cu file. What it checks and what it cannot see stands in ../__init__.py.
#pragma once
#define DRYWARP 1
#include "language.h"
#include "state.h"
#include "fiber.h"
#include "block.h"
#include "warp.h"
#include "atomics.h"
#include "async_copy.h"
#include "tensor_core.h"
#include "launch.h"
