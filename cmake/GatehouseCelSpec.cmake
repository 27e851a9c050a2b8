# SPDX-License-Identifier: Apache-2.0
# GATEHOUSE_CEL_TESTS: the specification's own tests of CEL as a JSON file in the build folder, made by node from the
# pinned package that scripts/install-cel-spec installs (which runs here if it is not in place).
include_guard()

execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/install-cel-spec RESULT_VARIABLE cel_spec_result)
if(NOT cel_spec_result EQUAL 0)
  message(FATAL_ERROR "CEL's conformance tests are not installed; run scripts/install-cel-spec and read what it says")
endif()
find_program(NODE node REQUIRED)

set(GATEHOUSE_CEL_TESTS ${CMAKE_BINARY_DIR}/third_party/cel-spec/conformance.json)
set(cel_spec_module
  ${CMAKE_SOURCE_DIR}/third_party/cel-spec/node_modules/@bufbuild/cel-spec/dist/esm/testdata/conformance.js)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/third_party/cel-spec)
add_custom_command(OUTPUT ${GATEHOUSE_CEL_TESTS}
  COMMAND ${NODE} ${CMAKE_SOURCE_DIR}/tests/support/cel_tests.mjs ${cel_spec_module} ${GATEHOUSE_CEL_TESTS}
  DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/cel_tests.mjs ${cel_spec_module} VERBATIM)
add_custom_target(cel_tests_json DEPENDS ${GATEHOUSE_CEL_TESTS})
