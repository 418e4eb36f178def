# What `cmake --install` leaves for other projects: the package HorNet, one component per library.
#
#   find_package(HorNet 0.1 REQUIRED COMPONENTS backbone)
#   target_link_libraries(mine PRIVATE hornet::backbone)
#
# A component <name> is two files beside HorNetConfig.cmake: HorNet-<name>-targets.cmake, CMake's
# export of the target, and HorNet-<name>.cmake, which finds what that target needs first. All
# paths in them are relative to the package, so that it can be moved.

set(HORNET_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/HorNet")

# hornet_component(heads PACKAGES "OpenCV 4.6 COMPONENTS core"): installs the target hornet_heads as
# hornet::heads. Components that it links publicly are found on their own; PACKAGES are the other
# packages that its users need, each in find_package()'s words.
function(hornet_component name)
  cmake_parse_arguments(ARG "" "" "PACKAGES" ${ARGN})
  set(_needs "")
  get_target_property(_links hornet_${name} INTERFACE_LINK_LIBRARIES)
  foreach(_link IN LISTS _links)
    if(_link MATCHES "^hornet::(.+)$")
      string(APPEND _needs "include(\"\${CMAKE_CURRENT_LIST_DIR}/HorNet-${CMAKE_MATCH_1}.cmake\")\n")
    endif()
  endforeach()
  foreach(_package IN LISTS ARG_PACKAGES)
    string(APPEND _needs "find_dependency(${_package})\n")
  endforeach()
  configure_file("${PROJECT_SOURCE_DIR}/cmake/HorNetComponent.cmake.in"
                 "${PROJECT_BINARY_DIR}/cmake/HorNet-${name}.cmake" @ONLY)
  set_target_properties(hornet_${name} PROPERTIES EXPORT_NAME ${name})
  install(TARGETS hornet_${name} EXPORT HorNet-${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT HorNet-${name} NAMESPACE hornet:: FILE HorNet-${name}-targets.cmake
          DESTINATION "${HORNET_PACKAGE_DIR}")
  install(FILES "${PROJECT_BINARY_DIR}/cmake/HorNet-${name}.cmake" DESTINATION "${HORNET_PACKAGE_DIR}")
  set_property(GLOBAL APPEND PROPERTY HORNET_COMPONENTS ${name})
endfunction()

# hornet_package(): the package's own files, once all components are known.
function(hornet_package)
  include(CMakePackageConfigHelpers)
  get_property(HORNET_COMPONENTS GLOBAL PROPERTY HORNET_COMPONENTS)
  configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/HorNetConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/cmake/HorNetConfig.cmake"
    INSTALL_DESTINATION "${HORNET_PACKAGE_DIR}"
    NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
  # While the version is 0.x, every minor version may change what others build on.
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/cmake/HorNetConfigVersion.cmake"
                                   COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/cmake/HorNetConfig.cmake"
                "${PROJECT_BINARY_DIR}/cmake/HorNetConfigVersion.cmake"
                "${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake"
          DESTINATION "${HORNET_PACKAGE_DIR}")
endfunction()
