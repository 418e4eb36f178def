# Finds LibTorch through CMAKE_PREFIX_PATH: a LibTorch distribution's root, or what
# `python -c "import torch; print(torch.utils.cmake_prefix_path)"` prints for a pip wheel.
#
#   LibTorch::cpu    libtorch_cpu and libc10: all that is needed without a GPU
#   LibTorch::cuda   the same with libtorch_cuda and libc10_cuda (only where they exist; COMPONENTS
#                    cuda insists on it)
#
# find_package(Torch) is not used: the CUDA wheel's own package file demands a CUDA toolkit
# even from those who only want its CPU half.

find_path(LibTorch_CONFIG_DIR TorchConfig.cmake PATH_SUFFIXES Torch share/cmake/Torch)
if(LibTorch_CONFIG_DIR)
  get_filename_component(LibTorch_ROOT_DIR "${LibTorch_CONFIG_DIR}/../../.." ABSOLUTE)
  if(EXISTS "${LibTorch_CONFIG_DIR}/TorchConfigVersion.cmake")
    file(STRINGS "${LibTorch_CONFIG_DIR}/TorchConfigVersion.cmake" _version_line
         REGEX "set\\(PACKAGE_VERSION ")
    string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" LibTorch_VERSION "${_version_line}")
  endif()
  foreach(_lib torch_cpu c10 torch_cuda c10_cuda)
    find_library(LibTorch_${_lib}_LIBRARY ${_lib} PATHS "${LibTorch_ROOT_DIR}/lib" NO_DEFAULT_PATH)
    mark_as_advanced(LibTorch_${_lib}_LIBRARY)
  endforeach()
endif()
mark_as_advanced(LibTorch_CONFIG_DIR)

set(LibTorch_cpu_FOUND ${LibTorch_torch_cpu_LIBRARY})
set(LibTorch_cuda_FOUND ${LibTorch_torch_cuda_LIBRARY})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY LibTorch_ROOT_DIR
  VERSION_VAR LibTorch_VERSION
  HANDLE_VERSION_RANGE HANDLE_COMPONENTS
  REASON_FAILURE_MESSAGE
    "Set CMAKE_PREFIX_PATH to a LibTorch 2.11: its root, or for a wheel (pip install torch==2.11.0, as HorNet's own `make` does) what `python3 -c \"print(__import__('torch').utils.cmake_prefix_path)\"` prints.")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  set_target_properties(
    LibTorch::cpu
    PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES
      "${LibTorch_ROOT_DIR}/include;${LibTorch_ROOT_DIR}/include/torch/csrc/api/include"
      INTERFACE_LINK_LIBRARIES "${LibTorch_torch_cpu_LIBRARY};${LibTorch_c10_LIBRARY}")
  if(LibTorch_torch_cuda_LIBRARY AND LibTorch_c10_cuda_LIBRARY)
    # Nothing refers to libtorch_cuda by symbol: it registers its kernels when it is loaded.
    add_library(LibTorch::cuda INTERFACE IMPORTED)
    set_target_properties(
      LibTorch::cuda
      PROPERTIES
        INTERFACE_LINK_LIBRARIES
        "LibTorch::cpu;${LibTorch_c10_cuda_LIBRARY};-Wl,--push-state,--no-as-needed,${LibTorch_torch_cuda_LIBRARY},--pop-state"
    )
  endif()
endif()
