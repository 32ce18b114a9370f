// What AMX's tiles multiply at once.
#pragma once

#include "tiles.h"
#include "vnni16.h"

namespace {

constexpr int kLanes = 16;                     // rows of a vector
constexpr int kVectors = kPanelRows / kLanes;  // vectors of a panel

// The vector v of a panel, some columns, and where results of the two go.
struct Task {
    int v, n_columns;
    const uint8_t* x;
    float* out;
};

}  // namespace
