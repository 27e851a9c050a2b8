# SPDX-License-Identifier: Apache-2.0
# Target gatehouse_duckdb: the pinned libduckdb.so and its C header, installed by scripts/install-duckdb (which runs
# here
# if they are not in place). Linked by collector/store only. Binaries find the library by their build rpath.
include_guard()

set(GATEHOUSE_DUCKDB_DIR ${CMAKE_SOURCE_DIR}/third_party/duckdb/node_modules)
execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/install-duckdb RESULT_VARIABLE duckdb_result)
if(NOT duckdb_result EQUAL 0)
  message(FATAL_ERROR "DuckDB is not installed; run scripts/install-duckdb and read what it says")
endif()

# The header stands alone in a folder of its own: its neighbours are DuckDB's C++ internals, which nothing here may use.
configure_file(${GATEHOUSE_DUCKDB_DIR}/duckdb/src/duckdb/src/include/duckdb.h
               ${CMAKE_BINARY_DIR}/third_party/duckdb/include/duckdb.h COPYONLY)

add_library(gatehouse_duckdb SHARED IMPORTED GLOBAL)
set_target_properties(gatehouse_duckdb PROPERTIES
  IMPORTED_LOCATION ${GATEHOUSE_DUCKDB_DIR}/@duckdb/node-bindings-linux-x64/libduckdb.so
  IMPORTED_SONAME libduckdb.so
  INTERFACE_INCLUDE_DIRECTORIES ${CMAKE_BINARY_DIR}/third_party/duckdb/include
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${CMAKE_BINARY_DIR}/third_party/duckdb/include)
