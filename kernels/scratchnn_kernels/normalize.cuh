// Normalisation over [outer, cells, inner]: each cell has its own mean and variance, over outer and inner. Batch norm
// of [N,C,H,W] has outer N, cells C, inner H*W; layer norm has outer 1. A cell that lies together and is short is a
// row, see row.cuh, and read once. Others are cut into pieces, one block each, and read twice.
#pragma once
#include "row.cuh"

struct Layout {
  int outer;
  Divisor cells, inner;
};

// Which weight belongs to a cell and a place along inner: along both, `count` weights repeat, each for a run.
struct Affine {
  Divisor cell_run, cell_count, inner_run, inner_count;
  // The first weight of a cell, and how far from there the weight of a place is.
  __device__ int of_cell(int cell) const {
    cell = cell_run.of(cell);
    return cell_count.take(cell) * inner_count.divisor;
  }
  __device__ int of_place(int place) const {
    place = inner_run.of(place);
    return inner_count.take(place);
  }
  __device__ bool one_weight() const { return inner_count.divisor == 1; }  // for all numbers of a cell
};

// A block's share of its cell, numbers first to last of outer * inner. A thread takes SIZE at a time: neighbours where
// they are one load, else 256 apart, so that those of a warp are neighbours.
template <class T> struct Piece {
  static constexpr int SIZE = Pack<T>::SIZE, STEP = 256 * SIZE;
  Layout at;
  bool packed;
  int first, last;

  __device__ Piece(const Layout &layout, bool arrays_aligned)
      : at(layout), packed(arrays_aligned && layout.inner.divisor % SIZE == 0) {
    int count = at.outer * at.inner.divisor, packs = (count + SIZE - 1) / SIZE;
    int share = (packs + gridDim.y - 1) / gridDim.y * SIZE;
    first = min(count, (int)blockIdx.y * share);
    last = min(count, first + share);
  }
  __device__ int begin() const { return first + threadIdx.x * (packed ? SIZE : 1); }
  __device__ int number(int i, int j) const { return i + j * (packed ? 1 : 256); }
  __device__ int index(int i) const {
    int place = at.inner.take(i);
    return (i * at.cells.divisor + blockIdx.x) * at.inner.divisor + place;
  }
  __device__ int place(int i, int j) const {
    int n = number(i, j);
    return at.inner.take(n);
  }

  // visit(j) for those of the SIZE numbers from i that there are; load makes the others 0.
  template <class Visit> __device__ void each(int i, Visit visit) const {
    for (int j = 0; j < SIZE; j++)
      if (number(i, j) < last) visit(j);
  }
  __device__ Pack<T> load(const T *x, int i) const {
    Pack<T> held = {};
    if (!packed) each(i, [&](int j) { held.value[j] = x[index(number(i, j))]; });
    else if (i < last) held = *(const Pack<T> *)(x + index(i));
    return held;
  }
  __device__ void store(T *y, int i, const Pack<T> &held) const {
    if (packed) *(Pack<T> *)(y + index(i)) = held;
    else each(i, [&](int j) { y[index(number(i, j))] = held.value[j]; });
  }
};
