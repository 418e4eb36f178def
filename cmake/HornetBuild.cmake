# How everything here is compiled: language level, warnings, ccache, CUDA, and one function
# per kind of target. Each folder's CMakeLists.txt only lists its files.

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

find_program(HORNET_CCACHE ccache)
mark_as_advanced(HORNET_CCACHE)
if(HORNET_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
                                  ${HORNET_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${HORNET_CCACHE})
endif()

# `#include <hornet/backbone/hornet.h>` in the build tree as after installation.
set(HORNET_INCLUDE_DIR "${CMAKE_BINARY_DIR}/include")
file(MAKE_DIRECTORY "${HORNET_INCLUDE_DIR}/hornet")
foreach(_folder backbone necks heads pipelines training interop)
  file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${_folder}" "${HORNET_INCLUDE_DIR}/hornet/${_folder}" SYMBOLIC)
endforeach()

# hornet_find_torch(): LibTorch, and the CUDA language where HORNET_CUDA asks for it.
# Defines the target hornet::torch, which is what every library here means by LibTorch, and the
# variable HORNET_WITH_CUDA.
macro(hornet_find_torch)
  find_package(LibTorch 2.11 REQUIRED)
  # CMake leaves a LibTorch inside the source tree (.venv) out of the installed RPATH by itself.
  list(APPEND CMAKE_INSTALL_RPATH "${LibTorch_ROOT_DIR}/lib")
  set(HORNET_WITH_CUDA OFF)
  if(NOT HORNET_CUDA STREQUAL "OFF")
    include(CheckLanguage)
    check_language(CUDA)
    hornet_cuda_version()
    if(CMAKE_CUDA_COMPILER AND TARGET LibTorch::cuda AND HORNET_CUDA_VERSION VERSION_GREATER_EQUAL 12.8)
      set(HORNET_WITH_CUDA ON)
    elseif(HORNET_CUDA STREQUAL "ON")
      message(FATAL_ERROR "HORNET_CUDA=ON needs nvcc >= 12.8 (found: '${CMAKE_CUDA_COMPILER}' "
                          "${HORNET_CUDA_VERSION}) and a LibTorch with CUDA (found: ${LibTorch_ROOT_DIR}). Install them or use HORNET_CUDA=OFF.")
    endif()
  endif()
  add_library(hornet_torch INTERFACE)
  add_library(hornet::torch ALIAS hornet_torch)
  target_link_libraries(hornet_torch INTERFACE LibTorch::cpu)
  if(HORNET_WITH_CUDA)
    hornet_cuda_architectures()
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 17)
    find_package(CUDAToolkit REQUIRED)
    target_link_libraries(hornet_torch INTERFACE LibTorch::cuda $<BUILD_INTERFACE:CUDA::cudart>)
  endif()
  hornet_torch_component()
  message(STATUS "HorNet: LibTorch ${LibTorch_VERSION} in ${LibTorch_ROOT_DIR}, CUDA kernels: ${HORNET_WITH_CUDA}")
endmacro()

# hornet_find_transports(): what carries gradients between processes. HORNET_WITH_MPI, with the
# target MPI::MPI_CXX, where HORNET_MPI asks for it; HORNET_WITH_NCCL, with HORNET_NCCL_INCLUDE_DIR,
# where the headers that LibTorch's own process group includes are found. NCCL itself comes with
# LibTorch's library.
macro(hornet_find_transports)
  set(HORNET_WITH_MPI OFF)
  if(NOT HORNET_MPI STREQUAL "OFF")
    set(MPI_CXX_SKIP_MPICXX ON)
    find_package(MPI COMPONENTS CXX QUIET)
    if(MPI_CXX_FOUND)
      set(HORNET_WITH_MPI ON)
    elseif(HORNET_MPI STREQUAL "ON")
      message(FATAL_ERROR "HORNET_MPI=ON needs an MPI (Debian: libopenmpi-dev and openmpi-bin). Install them or use HORNET_MPI=OFF.")
    endif()
  endif()
  set(HORNET_WITH_NCCL OFF)
  if(HORNET_WITH_CUDA)
    find_path(HORNET_NCCL_INCLUDE_DIR nccl.h HINTS "${LibTorch_ROOT_DIR}/../nvidia/nccl/include")
    find_path(HORNET_CUSOLVER_INCLUDE_DIR cusolverDn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} NO_DEFAULT_PATH)
    mark_as_advanced(HORNET_NCCL_INCLUDE_DIR HORNET_CUSOLVER_INCLUDE_DIR)
    if(HORNET_NCCL_INCLUDE_DIR AND HORNET_CUSOLVER_INCLUDE_DIR)
      set(HORNET_WITH_NCCL ON)
    endif()
  endif()
  message(STATUS "HorNet: training by several processes over MPI: ${HORNET_WITH_MPI}, over NCCL: ${HORNET_WITH_NCCL}")
endmacro()

# LibTorch's minor versions are not binary compatible: who links to HorNet needs the same one, and
# one with CUDA if HorNet's kernels are built for it (the CUDA toolkit they do not need).
function(hornet_torch_component)
  string(REGEX MATCH "^([0-9]+)\\.([0-9]+)" _version "${LibTorch_VERSION}")
  math(EXPR _next "${CMAKE_MATCH_2} + 1")
  set(_package "LibTorch ${_version}...<${CMAKE_MATCH_1}.${_next}")
  if(HORNET_WITH_CUDA)
    string(APPEND _package " COMPONENTS cuda")
  endif()
  hornet_component(torch PACKAGES "${_package}")
endfunction()

# The version of nvcc in HORNET_CUDA_VERSION, 0 without one. An older nvcc than 12.8 does not know
# the newest architectures of the default list.
macro(hornet_cuda_version)
  set(HORNET_CUDA_VERSION 0)
  if(CMAKE_CUDA_COMPILER)
    execute_process(COMMAND "${CMAKE_CUDA_COMPILER}" --version OUTPUT_VARIABLE _nvcc ERROR_QUIET)
    if(_nvcc MATCHES "release ([0-9]+\\.[0-9]+)")
      set(HORNET_CUDA_VERSION ${CMAKE_MATCH_1})
    endif()
  endif()
endmacro()

# TORCH_CUDA_ARCH_LIST ("8.0;9.0;12.0+PTX"), the one place that names GPU architectures, in
# CMake's words ("80-real;90-real;120").
macro(hornet_cuda_architectures)
  set(_list "$ENV{TORCH_CUDA_ARCH_LIST}")
  if(TORCH_CUDA_ARCH_LIST)
    set(_list "${TORCH_CUDA_ARCH_LIST}")
  elseif(NOT _list)
    set(_list "8.0;8.6;8.9;9.0;12.0+PTX")
  endif()
  string(REGEX REPLACE "[ ,]+" ";" _list "${_list}")
  set(CMAKE_CUDA_ARCHITECTURES "")
  foreach(_arch IN LISTS _list)
    string(REPLACE "." "" _number "${_arch}")
    if(_number MATCHES "^([0-9]+[a-z]?)\\+PTX$")
      list(APPEND CMAKE_CUDA_ARCHITECTURES "${CMAKE_MATCH_1}")
    else()
      list(APPEND CMAKE_CUDA_ARCHITECTURES "${_number}-real")
    endif()
  endforeach()
endmacro()

# Warnings are errors in our own code. -fPIC everywhere, so that one precompiled header serves
# libraries and programs alike; OpenMP everywhere, because LibTorch's at::parallel_for is a plain loop
# in sources that are compiled without.
function(hornet_compile_options target)
  target_compile_options(
    ${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Werror -fPIC -fopenmp -fno-math-errno>
                      $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xcompiler=-Wall,-fPIC
                      --expt-relaxed-constexpr -diag-suppress=20012>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC warns of a class with a field of the same file's anonymous namespace where other sources
    # are included before (CMAKE_UNITY_BUILD).
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess
                                             -Wno-subobject-linkage>)
  endif()
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
endfunction()

# hornet_library(backbone SOURCES ... LINK ...): the shared library hornet::backbone, installed as a
# component of the package HorNet. PACKAGES: see hornet_component().
function(hornet_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LINK_PRIVATE;PACKAGES" ${ARGN})
  add_library(hornet_${name} SHARED ${ARG_SOURCES})
  add_library(hornet::${name} ALIAS hornet_${name})
  set_target_properties(
    hornet_${name} PROPERTIES DEFINE_SYMBOL "" VERSION ${PROJECT_VERSION}
                              SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  target_include_directories(
    hornet_${name} PUBLIC $<BUILD_INTERFACE:${HORNET_INCLUDE_DIR}>
                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(hornet_${name} PUBLIC cxx_std_17)
  target_link_libraries(hornet_${name} PUBLIC ${ARG_LINK} PRIVATE ${ARG_LINK_PRIVATE})
  hornet_compile_options(hornet_${name})
  hornet_component(${name} PACKAGES ${ARG_PACKAGES})
endfunction()

# hornet_use_torch_pch(target): reuse what hornet_backbone has precompiled of LibTorch. For files that use
# nothing of it SKIP_PRECOMPILE_HEADERS is faster.
function(hornet_use_torch_pch target)
  target_precompile_headers(${target} REUSE_FROM hornet_backbone)
endfunction()
