# SPDX-License-Identifier: Apache-2.0
# How targets are declared here, so that every folder's CMakeLists.txt is a list of names.
#
#   gatehouse_library(NAME SOURCES … DEPS …)        may do I/O
#   gatehouse_pure_library(NAME SOURCES … DEPS …)   no I/O, no exceptions, no RTTI
#   gatehouse_test(NAME SOURCES … DEPS … [LABELS …])  a GoogleTest binary, label "unit": no root, no network, < 5 s
#   gatehouse_bench(NAME SOURCES … DEPS …)          a Google Benchmark binary, built but not run by ctest
#   gatehouse_fuzz(NAME SOURCES … DEPS … CORPUS dir)  a libFuzzer target (preset fuzz); ctest runs its corpus
include_guard()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(gatehouse_options INTERFACE)
target_include_directories(gatehouse_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_options(gatehouse_options INTERFACE
  -Wall -Wextra -Werror -Wconversion -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wcast-align
  -Wunused -Woverloaded-virtual -Wnull-dereference -Wformat=2 -Wimplicit-fallthrough
  -fno-omit-frame-pointer -fstack-protector-strong)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports these inside libstdc++ when optimising; clang-tidy covers the ground.
  target_compile_options(gatehouse_options INTERFACE -Wno-null-dereference -Wno-restrict -Wno-stringop-overflow
                         -Wno-maybe-uninitialized -Wno-array-bounds -Wno-missing-field-initializers)
else()
  target_compile_options(gatehouse_options INTERFACE -Wthread-safety -Wno-missing-field-initializers
                         -Wno-missing-designated-field-initializers)
endif()
if(GATEHOUSE_SANITIZE)
  # Pure libraries have no type information, which the vptr check would need.
  target_compile_options(gatehouse_options INTERFACE -fsanitize=${GATEHOUSE_SANITIZE} -fno-sanitize-recover=all
                         -fno-sanitize=vptr)
  target_link_options(gatehouse_options INTERFACE -fsanitize=${GATEHOUSE_SANITIZE})
endif()
if(GATEHOUSE_FUZZ)
  target_compile_options(gatehouse_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(gatehouse_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC gatehouse_options ${arg_DEPS})
endfunction()

function(gatehouse_pure_library name)
  gatehouse_library(${name} ${ARGN})
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti>)
endfunction()

# What a label's tests need built, and no more. Labels beside "unit" and "bpf":
#   tree     checks of the sources: the same in every preset
#   slow     more than 5 s: not under the sanitizers
#   no-tsan  means nothing under the thread sanitizer; the reason stands where the test is declared
add_custom_target(unit_tests)
add_custom_target(bpf_tests)

function(gatehouse_test name)
  if(NOT GATEHOUSE_TESTS)
    return()
  endif()
  find_package(GTest REQUIRED)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} gatehouse_options GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE GH_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "unit;${arg_LABELS}" TIMEOUT 120)
  add_dependencies(unit_tests ${name})
endfunction()

function(gatehouse_bench name)
  if(NOT GATEHOUSE_TESTS)
    return()
  endif()
  find_package(benchmark REQUIRED)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} gatehouse_options benchmark::benchmark_main)
  target_compile_definitions(${name} PRIVATE GH_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endfunction()

function(gatehouse_fuzz name)
  if(NOT GATEHOUSE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(arg "" "CORPUS" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} gatehouse_options)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_test(NAME ${name} COMMAND ${name} -runs=0 ${arg_CORPUS})
  set_tests_properties(${name} PROPERTIES LABELS fuzz)
  # tests/CMakeLists.txt writes these to build/fuzz/fuzz_targets.txt for scripts/test: target, then corpus.
  set_property(GLOBAL APPEND PROPERTY GATEHOUSE_FUZZ_TARGETS "${name} ${arg_CORPUS}")
endfunction()
