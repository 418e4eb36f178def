// The options of segmentation that `hornet segment` and `hornet eval` have in common.
#pragma once

#include <hornet/pipelines/segmentor.h>

#include "demos/cli.h"

namespace hornet::cli {

// --mode, --tile, --stride, --blend, --tta, --max-memory and --palette, and what they say; --size,
// --batch-size and --allow-partial are read, too, but each command says what they are.
void add_segmentor_options(po::options_description& options);
SegmentorOptions segmentor_options(const po::variables_map& values);

}  // namespace hornet::cli
