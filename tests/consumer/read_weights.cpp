// A checkpoint without LibTorch.
#include <hornet/backbone/error.h>
#include <hornet/backbone/weights/tensor_file.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const hornet::weights::File file = hornet::weights::read(argv[1]);
  std::cout << file.format << ", " << file.tensors.size() << " tensors, first "
            << file.tensors.begin()->first << '\n';
} catch (const hornet::Error& error) {
  std::cerr << error.what() << '\n';
  return static_cast<int>(error.code());
}
