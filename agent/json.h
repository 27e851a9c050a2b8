// SPDX-License-Identifier: Apache-2.0
// What the agent's own commands print as JSON.
#pragma once

#include <string>
#include <string_view>

#include <google/protobuf/message.h>

namespace gatehouse::agent {

// By the field names of the schema; what is empty is left out.
std::string json_of(const google::protobuf::Message& message);

// JSON has no raw bytes: what is not UTF-8 stands as \xNN.
std::string quoted(std::string_view bytes);

}  // namespace gatehouse::agent
