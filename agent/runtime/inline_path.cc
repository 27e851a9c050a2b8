// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/inline_path.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "agent/runtime/far_listeners.h"
#include "agent/runtime/inline_desk.h"
#include "agent/shim/networks.h"
#include "agent/shim/redirect.h"
#include "agent/shim/worker.h"
#include "common/clock.h"
#include "common/log.h"

namespace gatehouse::runtime {
namespace {

constexpr int kBacklog = 4096;
// For so long it is waited for what else is known of the clients; the kernel's rings may never be empty.
constexpr size_t kIncompleteTurnsMax = 8;
constexpr size_t kQuietTurnsMin = 100;  // of a path that is left; two seconds at the rate it is looked at

// One place of a database: a listen address, or one of the two that a bare port stands for.
struct GatedPlace {
  const AgentConfig::Database* database = nullptr;
  shim::Place place;
  UniqueFd listener;
  std::string shim_path;  // Unix sockets
};

// An abstract name: it goes with the socket. Whoever connects to it without being led is judged all the same.
Result<UniqueFd> listen_unix(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Error::system("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, path.data() + 1, path.size() - 1);
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0 || ::listen(fd.get(), kBacklog) != 0)
    return Error::system("listening at " + path);
  return fd;
}

shim::Place place_of(const ListenAddress& listen, const AgentConfig::Gate& gate, Transport transport) {
  shim::Place place;
  place.transport = transport;
  place.server.address = listen.address;
  place.server.port = listen.port;
  place.path = listen.path;
  place.on_failure = gate.is_closed ? shim::OnFailure::kClosed : shim::OnFailure::kOpen;
  return place;
}

// Names of two databases may lead to one address: it is the first one's.
bool is_taken(std::span<const GatedPlace> places, const shim::Place& wanted) {
  return std::ranges::any_of(places, [&](const GatedPlace& other) {
    return other.place.transport == wanted.transport && wanted.transport != Transport::kUnix &&
           other.place.server.address == wanted.server.address && other.place.server.port == wanted.server.port;
  });
}

Result<std::vector<GatedPlace>> make_places(std::span<const AgentConfig::Database> databases,
                                            std::span<const LocatedEntry> whereabouts) {
  std::vector<GatedPlace> places;
  for (const AgentConfig::Database& database : databases) {
    if (!database.gate) continue;
    for (const ListenAddress& listen : database.listen) {
      using Kind = ListenAddress::Kind;
      const auto add = [&](Transport transport) -> Status {
        shim::Place wanted = place_of(listen, *database.gate, transport);
        if (is_taken(places, wanted)) return {};
        wanted.is_far = is_elsewhere(listen, whereabouts);
        GatedPlace& place = places.emplace_back();
        place.database = &database;
        place.place = std::move(wanted);
        if (transport != Transport::kUnix) {
          GH_ASSIGN(place.listener, shim::listen_on_loopback(transport));
          return {};
        }
        // Of the configuration before this one there may be sessions, and its listeners, yet.
        static std::atomic<uint64_t> made{0};
        place.shim_path = "@gatehouse-" + std::to_string(::getpid()) + "-" + std::to_string(++made);
        GH_ASSIGN(place.listener, listen_unix(place.shim_path));
        return {};
      };
      if (listen.kind == Kind::kUnix) GH_TRY(add(Transport::kUnix));
      if (listen.kind == Kind::kTcp4 || listen.kind == Kind::kPort) GH_TRY(add(Transport::kTcp4));
      if (listen.kind == Kind::kTcp6 || listen.kind == Kind::kPort) GH_TRY(add(Transport::kTcp6));
    }
  }
  return places;
}

shim::Gated gated_of(GatedPlace& place) {
  const AgentConfig::Gate& gate = *place.database->gate;
  shim::Gated gated;
  gated.label = place.database->name;
  gated.transport = place.place.transport;
  gated.server = place.place.server;
  gated.path = place.place.path;
  gated.is_far = place.place.is_far;
  gated.listener = place.listener.release();
  gated.certificate = gate.certificate;
  gated.key = gate.key;
  if (!gate.upstream_root_certificate.empty())
    gated.upstream_tls = {.verify = shim::UpstreamTls::Verify::kFull,
                          .root_certificate = gate.upstream_root_certificate,
                          .name = gate.upstream_name};
  gated.limits.statement_bytes_max = gate.statement_bytes_max;
  return gated;
}

}  // namespace

struct InlinePath::State {
  // Whoever waits for the digest of his program is introduced again when it is known.
  std::map<SocketId, Introduction> introduced;
  std::vector<AgentConfig::Database> databases;
  std::function<void()> wake;
  uint64_t since_ns = 0;
  size_t places = 0;            // that are led here
  std::vector<bool> is_closed;  // of each
  size_t quiet_turns = 0;
  size_t incomplete_turns = 0;  // in a row
  std::unique_ptr<shim::Redirect> redirect;
  std::unique_ptr<InlineDesk> desk;
  std::unique_ptr<shim::Worker> worker;         // it uses the others
  std::unique_ptr<FarListeners> far_listeners;  // last: it uses worker and redirect; null: all places are of this host
  std::vector<Introduction> wanted;
  std::vector<SocketId> to_introduce;
};

namespace {

// Notes which sessions are over.
class ForgetClosed final : public RecordSink {
 public:
  ForgetClosed(RecordSink& sink, std::map<SocketId, Introduction>& introduced) : sink_(sink), introduced_(introduced) {}
  void on_socket_opened(const SocketOpened& record) override { sink_.on_socket_opened(record); }
  void on_chunk(const Chunk& record) override { sink_.on_chunk(record); }
  void on_socket_opaque(const SocketOpaque& record) override { sink_.on_socket_opaque(record); }
  void on_refused(const Refused& record) override { sink_.on_refused(record); }
  void on_masked(const Masked& record) override { sink_.on_masked(record); }
  void on_approval(const ApprovalStep& record) override { sink_.on_approval(record); }
  void on_socket_closed(const SocketClosed& record) override {
    introduced_.erase(record.socket);
    sink_.on_socket_closed(record);
  }
  void on_process_exec(const ProcessExec& record) override { sink_.on_process_exec(record); }
  void on_process_fork(const ProcessFork& record) override { sink_.on_process_fork(record); }
  void on_process_exit(const ProcessExit& record) override { sink_.on_process_exit(record); }

 private:
  RecordSink& sink_;
  std::map<SocketId, Introduction>& introduced_;
};

}  // namespace

InlinePath::InlinePath(std::unique_ptr<State> state) : state_(std::move(state)) {}

InlinePath::~InlinePath() {
  stop();
}

bool InlinePath::is_over() {
  if (state_->worker == nullptr) return true;
  // Clients that were led here a moment ago may not have been accepted yet, and the last records may be in the queue.
  const bool is_quiet = state_->places == 0 && state_->worker->counters().sessions == 0 && state_->introduced.empty();
  state_->quiet_turns = is_quiet ? state_->quiet_turns + 1 : 0;
  return state_->quiet_turns > kQuietTurnsMin;
}

void InlinePath::hand_over() {
  state_->since_ns = 0;
  for (size_t i = 0; i < state_->places; ++i)
    if (!state_->is_closed[i]) let_go(i);
  state_->places = 0;
}

void InlinePath::stop() {
  hand_over();
  state_->far_listeners.reset();
  state_->worker.reset();
}

Status InlinePath::check(const AgentConfig::Database& database, std::span<const LocatedEntry> whereabouts) {
  GH_ASSIGN(std::vector<GatedPlace> places, make_places({&database, 1}, whereabouts));
  shim::Redirect::Options redirect{.pin_folder = std::string(shim::Redirect::kPinFolder) + "-doctor"};
  for (GatedPlace& place : places) {
    redirect.places.push_back(place.place);
    GH_TRY(shim::Worker::check(gated_of(place)));
  }
  GH_ASSIGN(const auto programs, shim::Redirect::open(redirect));
  return {};
}

void InlinePath::open_closed() {
  shim::Redirect::clear_pins(shim::Redirect::kPinFolder);
}

void InlinePath::let_go() {
  state_->since_ns = 0;
  for (size_t i = 0; i < state_->places; ++i) let_go(i);
  state_->places = 0;
}

void InlinePath::let_go(size_t place) {
  const Status status = state_->redirect->let_go(place);
  if (!status) log::warn("shim", "clients could not be let go", {{"reason", status.error().message()}});
}

Result<std::unique_ptr<InlinePath>> InlinePath::open(Options options, CatalogBook* catalogs) {
  auto state = std::make_unique<State>();
  state->databases = std::move(options.databases);
  state->wake = options.wake;
  GH_ASSIGN(std::vector<GatedPlace> places, make_places(state->databases, options.whereabouts));
  shim::Redirect::Options redirect;
  for (const GatedPlace& place : places) {
    redirect.places.push_back(place.place);
    state->is_closed.push_back(place.place.on_failure == shim::OnFailure::kClosed);
  }
  redirect.maps = options.maps;
  GH_ASSIGN(state->redirect, shim::Redirect::open(redirect));

  GH_ASSIGN(mask::MasterKey mask_secret, open_mask_secret(options.mask_key).context("rules.mask_key"));
  InlineDesk::Options desk{.agent_id = options.agent_id,
                           .boot_id = options.boot_id,
                           .host = options.host,
                           .always_facts = options.always_facts,
                           .time = {.unix_minus_boottime_ns = options.unix_minus_boottime_ns},
                           .own_pid = static_cast<uint32_t>(::getpid()),
                           .mask_secret = std::make_shared<const mask::MasterKey>(std::move(mask_secret)),
                           .beat = [raw = state->redirect.get()](uint64_t now_ns) { raw->beat(now_ns); },
                           .wake = options.wake,
                           .holds = options.holds};
  for (const GatedPlace& place : places) {
    desk.databases.push_back(place.database);
    desk.is_far.push_back(place.place.is_far);
  }
  GH_ASSIGN(state->desk, InlineDesk::open(std::move(desk), catalogs));
  if (options.policy != nullptr) state->desk->set_policy(options.policy, options.rules_state);

  shim::Worker::Options worker;
  std::vector<int> listeners;
  for (GatedPlace& place : places) {
    worker.gated.push_back(gated_of(place));
    listeners.push_back(worker.gated.back().listener);
  }
  for (shim::Gated& gated : worker.gated) gated.server.path = gated.path;
  GH_ASSIGN(state->worker, shim::Worker::start(std::move(worker), state->redirect.get(), *state->desk));
  std::vector<FarListeners::Place> far;
  for (size_t i = 0; i < places.size(); ++i)
    if (places[i].place.is_far) far.push_back({.index = i, .transport = places[i].place.transport});
  if (!far.empty())
    state->far_listeners = std::make_unique<FarListeners>(std::move(far), *state->redirect, *state->worker);
  state->since_ns = boottime_ns();
  state->redirect->beat(state->since_ns);
  state->places = places.size();
  auto path = std::unique_ptr<InlinePath>(new InlinePath(std::move(state)));  // lets go if an error returns
  for (size_t i = 0; i < places.size(); ++i) {
    const GatedPlace& place = places[i];
    GH_TRY((place.place.transport == Transport::kUnix ? path->state_->redirect->lead_unix(i, place.shim_path)
                                                      : path->state_->redirect->lead(i, listeners[i]))
               .context("database " + place.database->name));
  }
  return path;
}

void InlinePath::take() {
  state_->desk->queue().take();
  state_->desk->take_wanted(state_->wanted);
}

size_t InlinePath::turn(RecordSink& sink, size_t records_max, bool is_complete, Subjects& subjects,
                        identity::ProcessTable& processes, const TimeBase& time) {
  State& s = *state_;
  s.incomplete_turns = is_complete ? 0 : s.incomplete_turns + 1;
  if (s.incomplete_turns % kIncompleteTurnsMax != 0) return 0;
  const auto introduce = [&](const Introduction& who) {
    const identity::ProcessRef& image = processes.writer(who.opener, who.uid);
    const ImageKey key{.process = who.opener, .image = image == nullptr ? 0 : image->image_number};
    s.desk->introduce(who.socket, subjects.actor(key, {}, time));
  };
  for (const SocketId socket : std::exchange(s.to_introduce, {}))
    if (const auto found = s.introduced.find(socket); found != s.introduced.end()) introduce(found->second);
  for (const Introduction& who : std::exchange(s.wanted, {})) {
    s.introduced[who.socket] = who;
    introduce(who);
  }
  ForgetClosed forgetting(sink, s.introduced);
  return s.desk->queue().poll(forgetting, records_max);
}

bool InlinePath::is_behind() const {
  return !state_->desk->queue().is_drained();
}

void InlinePath::on_processes_changed(std::span<const ProcessKey> changed) {
  for (const auto& [socket, who] : state_->introduced)
    if (std::ranges::find(changed, who.opener) != changed.end()) state_->to_introduce.push_back(socket);
}

void InlinePath::set_policy(std::shared_ptr<const rules::Policy> policy) {
  state_->desk->set_policy(std::move(policy), {});
}

void InlinePath::on_network(uint32_t pid) {
  if (state_->far_listeners) state_->far_listeners->hint(pid);
}

std::map<std::string, uint64_t> InlinePath::counters() const {
  if (state_->worker == nullptr) return {};
  const shim::WorkerCounters& worker = state_->worker->counters();
  const shim::RedirectCounters redirect = state_->redirect->counters();
  return {
      {"shim_sessions_accepted", worker.accepted},
      {"shim_sessions_closed", worker.closed},
      {"shim_sessions_open", worker.sessions},
      {"shim_cancels", worker.cancels},
      {"shim_startups_refused", worker.refused_startups},
      {"shim_upstream_failed", worker.upstream_failed},
      {"shim_tls_failed", worker.tls_failed},
      {"shim_judged", worker.judged},
      {"shim_refused", worker.refused},
      {"shim_desyncs", worker.desyncs},
      {"shim_bytes_up", worker.bytes_up},
      {"shim_bytes_down", worker.bytes_down},
      {"redirect_steered", redirect.steered},
      {"redirect_passed", redirect.passed},
      {"redirect_opened_direct", redirect.opened_direct},
      {"redirect_refused", redirect.refused},
      {"redirect_networks", state_->far_listeners ? state_->far_listeners->networks() : 0},
  };
}

uint64_t InlinePath::enforced_since_ns(std::string_view label) const {
  const auto is_it = [&](const AgentConfig::Database& database) { return database.gate && database.name == label; };
  return std::ranges::any_of(state_->databases, is_it) ? state_->since_ns : 0;
}

}  // namespace gatehouse::runtime
