// SPDX-License-Identifier: Apache-2.0
// One worker before servers that somebody else runs; releases everything. For tests/shim/on_server.py and benchmarks.
//
//   worker_stand [--certificate F --key F] [--root F --name N] [--quiet] DOOR…
//
// A DOOR is LISTEN=SERVER, each 127.0.0.1's port or a Unix socket's path. Says "ready"; then each line on standard
// input ("counters", "sessions") is answered with one of JSON; ends with standard input, and says what was wrong with
// the record.
#include <netinet/in.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "tests/shim/stand.h"

namespace {

using namespace gatehouse;

void tell_counters(const shim::WorkerCounters& c) {
  const std::pair<const char*, const std::atomic<uint64_t>*> all[] = {
      {"accepted", &c.accepted},     {"closed", &c.closed},
      {"cancels", &c.cancels},       {"refused_startups", &c.refused_startups},
      {"tls_failed", &c.tls_failed}, {"upstream_failed", &c.upstream_failed},
      {"judged", &c.judged},         {"refused", &c.refused},
      {"desyncs", &c.desyncs},       {"sessions", &c.sessions},
      {"bytes_up", &c.bytes_up},     {"bytes_down", &c.bytes_down},
      {"held_bytes", &c.held_bytes}, {"held_bytes_max", &c.held_bytes_max},
  };
  std::cout << '{';
  for (const auto& [name, value] : all)
    std::cout << (value == &c.accepted ? "" : ", ") << '"' << name << "\": " << value->load();
  std::cout << '}' << std::endl;
}

void tell_sessions(test::Record& record) {
  std::cout << '[';
  const char* between = "";
  for (const test::Recorded& s : record.sessions()) {
    std::cout << between << "{\"socket\": " << s.opened.socket << ", \"encrypted\": " << (s.opened.is_encrypted ? 1 : 0)
              << ", \"gated\": " << (s.opened.is_gated ? 1 : 0) << ", \"transport\": " << int(s.opened.transport)
              << ", \"client_port\": " << s.opened.client.port << ", \"server_port\": " << s.opened.server.port
              << ", \"path\": \"" << s.path << "\", \"pid\": " << s.opened.client_opener.pid
              << ", \"start_ns\": " << s.opened.client_opener.start_ns << ", \"uid\": " << s.opened.client_uid
              << ", \"closed\": " << (s.is_closed ? 1 : 0) << ", \"up\": " << s.positions[0]
              << ", \"down\": " << s.positions[1] << '}';
    between = ", ";
  }
  std::cout << ']' << std::endl;
}

shim::Gated make_door(const std::string& text) {
  const size_t middle = text.find('=');
  const std::string listen = text.substr(0, middle), server = text.substr(middle + 1);
  shim::Gated gated;
  gated.label = text;
  if (server.front() == '/') {
    gated.transport = Transport::kUnix;
    gated.path = server;
    gated.server.path = gated.path;
  } else {
    gated.server.port = static_cast<uint16_t>(std::atoi(server.c_str()));
  }
  gated.listener = listen.front() == '/' ? test::listen_unix(listen)
                                         : test::listen_tcp(static_cast<uint16_t>(std::atoi(listen.c_str())));
  return gated;
}

}  // namespace

int main(int count, char** arguments) {
  test::Stand stand;
  shim::Worker::Options options;
  std::string certificate, key, root, name;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    std::string* value = word == "--certificate" ? &certificate
                         : word == "--key"       ? &key
                         : word == "--root"      ? &root
                         : word == "--name"      ? &name
                                                 : nullptr;
    if (value != nullptr)
      *value = arguments[++i];
    else if (word == "--quiet")
      stand.record.keeps_bytes = false;
    else
      options.gated.push_back(make_door(word));
  }
  for (shim::Gated& gated : options.gated) {
    gated.certificate = certificate;
    gated.key = key;
    if (!root.empty())
      gated.upstream_tls = {.verify = shim::UpstreamTls::Verify::kFull, .root_certificate = root, .name = name};
  }
  auto worker = shim::Worker::start(std::move(options), nullptr, stand);
  if (!worker) {
    std::cerr << worker.error().message() << std::endl;
    return 1;
  }
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "counters") tell_counters((*worker)->counters());
    if (line == "sessions") tell_sessions(stand.record);
    if (line == "congest") stand.congested = true;
    if (line == "relieve") stand.congested = false;
  }
  worker->reset();
  const std::string faults = stand.record.faults();
  std::cout << faults << std::endl;
  return faults.empty() ? 0 : 3;
}
