#include <hornet/training/detection_losses.h>
