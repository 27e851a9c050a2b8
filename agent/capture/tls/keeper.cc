// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/tls/keeper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent/capture/ring.h"
#include "agent/capture/tls/elf_file.h"
#include "agent/capture/tls/lesson.h"
#include "agent/capture/tls/mappings.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/file.h"
#include "common/log.h"
#include "tls_secret.skel.h"

namespace gatehouse::capture {
namespace {

// Any library that can log a session's secrets has this; it is what the helper begins with.
constexpr std::string_view kLogSymbol = "SSL_CTX_set_keylog_callback";
// What tells a TLS library of another kind, for the explanation.
constexpr std::array<std::string_view, 3> kOtherSymbols{"SSL_do_handshake", "gnutls_handshake", "SSL_ForceHandshake"};
constexpr size_t kProcessesMax = 4096;
constexpr size_t kQueueMax = 1024;
constexpr size_t kPlacesMax = 256;  // PLACES_MAX there
constexpr size_t kMapsBytesMax = 16U << 20;
constexpr uint64_t kLibraryBytesMax = 1ULL << 30;
constexpr std::string_view kLessonHeader = "gatehouse-tls-lesson 1\n";

struct FileKey {
  dev_t device = 0;
  ino_t inode = 0;
  int64_t modified_ns = 0;
  off_t bytes = 0;
  auto operator<=>(const FileKey&) const = default;
};

FileKey key_of(const struct stat& s) {
  return {.device = s.st_dev,
          .inode = s.st_ino,
          .modified_ns = int64_t{s.st_mtim.tv_sec} * 1'000'000'000 + s.st_mtim.tv_nsec,
          .bytes = s.st_size};
}

struct FreeLink {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

// A file whose code was looked at.
struct Library {
  bool is_tls = false;
  std::string title;  // "/usr/lib/…/libssl.so.3 (OpenSSL 3.0.19 …)"
  std::string why_not;
  std::unique_ptr<bpf_link, FreeLink> link;  // the probe
};

struct Process {
  enum class Standing : uint8_t { kAsked, kTold, kNothing } standing = Standing::kAsked;
  std::string text;
};

std::string base_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

struct TlsKeeper::State {
  ~State();
  void run();
  void look_at(const ProcessKey& process);
  Library& library_of(const MappedFile& file, pid_t pid, const std::vector<MappedFile>& all);
  void learn(Library& library, const MappedFile& file, const UniqueFd& fd, pid_t pid,
             const std::vector<MappedFile>& all);
  Result<TlsLesson> lesson_of(const UniqueFd& fd, pid_t pid, const std::vector<MappedFile>& all);
  void attach(Library& library, const TlsLesson::Place& place, const UniqueFd& fd);

  TlsConfig config;
  tls_secret_bpf* programs = nullptr;
  Ring ring;
  int claims_fd = -1;
  uint64_t secret_count = 0;

  mutable std::mutex mutex;
  std::condition_variable has_work;
  bool is_ending = false;
  std::deque<ProcessKey> queue;
  std::map<ProcessKey, Process> processes;
  uint64_t attached = 0, refused = 0, lessons = 0;
  // The thread's own.
  std::map<FileKey, Library> libraries;
  uint32_t place_count = 0;
  std::thread thread;
};

TlsKeeper::State::~State() {
  {
    const std::scoped_lock lock(mutex);
    is_ending = true;
  }
  has_work.notify_all();
  if (thread.joinable()) thread.join();
  libraries.clear();
  if (programs != nullptr) tls_secret_bpf::destroy(programs);
}

void TlsKeeper::State::run() {
  std::unique_lock lock(mutex);
  for (;;) {
    has_work.wait(lock, [this] { return is_ending || !queue.empty(); });
    if (is_ending) return;
    const ProcessKey process = queue.front();
    queue.pop_front();
    lock.unlock();
    look_at(process);
    lock.lock();
  }
}

// Which TLS libraries it has, and what comes of them.
void TlsKeeper::State::look_at(const ProcessKey& process) {
  Process found{.standing = Process::Standing::kNothing, .text = {}};
  const auto pid = static_cast<pid_t>(process.pid);
  if (const auto maps = read_file("/proc/" + std::to_string(pid) + "/maps", kMapsBytesMax)) {
    const std::vector<MappedFile> files = code_mappings(*maps);
    for (const MappedFile& file : files) {
      const Library& library = library_of(file, pid, files);
      if (!library.is_tls) continue;
      if (library.link) found.standing = Process::Standing::kTold;
      if (!found.text.empty()) found.text += "; ";
      found.text +=
          library.title + (library.link ? ": its secrets are told, but not this session's" : ": " + library.why_not);
    }
    if (found.text.empty()) found.text = "no TLS library that is known here";
  } else {
    found.text = "it has ended";
  }
  const std::scoped_lock lock(mutex);
  processes[process] = std::move(found);
}

Library& TlsKeeper::State::library_of(const MappedFile& file, pid_t pid, const std::vector<MappedFile>& all) {
  static Library unreadable;
  // The very file, even if another has its name by now.
  auto fd = open_file("/proc/" + std::to_string(pid) + "/map_files/" + file.range, O_RDONLY);
  if (!fd) fd = open_file("/proc/" + std::to_string(pid) + "/root" + file.path, O_RDONLY);
  struct stat status{};
  if (!fd || fstat(fd->get(), &status) != 0) return unreadable;
  const auto [at, is_new] = libraries.try_emplace(key_of(status));
  if (is_new) learn(at->second, file, *fd, pid, all);
  return at->second;
}

void TlsKeeper::State::learn(Library& library, const MappedFile& file, const UniqueFd& fd, pid_t pid,
                             const std::vector<MappedFile>& all) {
  const auto elf = ElfFile::read(fd.get());
  if (!elf) return;
  library.title = file.path;
  if (!elf->defines(kLogSymbol)) {
    library.is_tls = std::ranges::any_of(kOtherSymbols, [&](std::string_view symbol) { return elf->defines(symbol); });
    library.why_not = "a library that logs no secrets";
    return;
  }
  library.is_tls = true;
  auto lesson = lesson_of(fd, pid, all);
  if (lesson && !lesson->version.empty()) library.title += " (" + lesson->version + ")";
  if (!lesson) {
    library.why_not = lesson.error().message();
  } else if (!lesson->place) {
    library.why_not = lesson->why_not;
  } else if (!elf->is_code(lesson->place->offset)) {
    library.why_not = "what was learned of it is none of its code";
  } else {
    attach(library, *lesson->place, fd);
  }
  const std::scoped_lock lock(mutex);
  if (library.link) {
    ++attached;
    log::info("tls", "secrets of a TLS library are told", {{"library", library.title}});
    return;
  }
  ++refused;
  log::warn("tls", "sessions with this TLS library stay opaque",
            {{"library", library.title}, {"reason", library.why_not}});
}

Result<TlsLesson> TlsKeeper::State::lesson_of(const UniqueFd& fd, pid_t pid, const std::vector<MappedFile>& all) {
  GH_ASSIGN(const Sha256 digest, sha256_descriptor(fd.get(), kLibraryBytesMax).context("reading it"));
  const std::string kept = config.lessons.empty() ? "" : config.lessons + "/" + to_hex(digest);
  if (!kept.empty()) {
    const auto text = read_file(kept, kMapsBytesMax);
    if (text && text->starts_with(kLessonHeader))
      if (auto lesson = parse_lesson(std::string_view(*text).substr(kLessonHeader.size()))) return std::move(*lesson);
  }
  // The library that it needs is the one that the process has beside it.
  std::vector<UniqueFd> needed;
  std::vector<int> files;
  for (const MappedFile& other : all) {
    if (!base_of(other.path).starts_with("libcrypto")) continue;
    auto one = open_file("/proc/" + std::to_string(pid) + "/map_files/" + other.range, O_RDONLY);
    if (!one) continue;
    needed.push_back(std::move(*one));
    files.push_back(needed.back().get());
  }
  files.push_back(fd.get());
  std::string printed;
  auto lesson = run_lesson(config.helper, files, printed);
  {
    const std::scoped_lock lock(mutex);
    ++lessons;
  }
  if (lesson && !printed.empty() && !kept.empty() && make_directories(config.lessons))
    if (const auto written = write_file_atomically(kept, std::string(kLessonHeader) + printed); !written)
      log::warn("tls", "what was learned is not kept", {{"reason", written.error().message()}});
  return lesson;
}

void TlsKeeper::State::attach(Library& library, const TlsLesson::Place& place, const UniqueFd& fd) {
  if (place_count == kPlacesMax) {
    library.why_not = "too many libraries";
    return;
  }
  const uint32_t index = place_count++;
  bpf_map_update_elem(bpf_map__fd(programs->maps.gh_tls_places), &index, &place.registers, BPF_ANY);
  LIBBPF_OPTS(bpf_uprobe_opts, options);
  options.bpf_cookie = index;
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  library.link.reset(
      bpf_program__attach_uprobe_opts(programs->progs.on_tls_secret, -1, path.c_str(), place.offset, &options));
  if (!library.link) library.why_not = "the kernel refuses a probe there: " + std::string(strerror(errno));
}

TlsKeeper::TlsKeeper(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsKeeper::~TlsKeeper() = default;

Result<std::unique_ptr<TlsKeeper>> TlsKeeper::open(const TlsConfig& config, int handshakes_fd, int claims_fd) {
  auto state = std::make_unique<State>();
  state->config = config;
  state->claims_fd = claims_fd;
  state->programs = tls_secret_bpf::open(nullptr);
  if (state->programs == nullptr) return Error::system("tls: opening the BPF object");
  bpf_program__set_autoattach(state->programs->progs.on_tls_secret, false);
  if (bpf_map__reuse_fd(state->programs->maps.gh_tls_handshakes, handshakes_fd) != 0 ||
      tls_secret_bpf::load(state->programs) != 0)
    return Error::system("tls: loading the BPF program");
  bpf_map* const ring = state->programs->maps.gh_tls_secrets;
  GH_ASSIGN(state->ring, Ring::map(bpf_map__fd(ring), bpf_map__max_entries(ring), "TLS secrets"));
  state->thread = std::thread([raw = state.get()] { raw->run(); });
  return std::unique_ptr<TlsKeeper>(new TlsKeeper(std::move(state)));
}

bool TlsKeeper::want(const ProcessKey& process) {
  if (!process.known()) return false;
  State& s = *state_;
  {
    const std::scoped_lock lock(s.mutex);
    const auto found = s.processes.find(process);
    if (found != s.processes.end()) return found->second.standing != Process::Standing::kNothing;
    if (s.queue.size() == kQueueMax) return true;
    if (s.processes.size() >= kProcessesMax)
      std::erase_if(s.processes, [](const auto& one) { return one.second.standing != Process::Standing::kAsked; });
    s.processes[process];
    s.queue.push_back(process);
  }
  s.has_work.notify_one();
  return true;
}

void TlsKeeper::read(RecordSink& sink) {
  State& s = *state_;
  s.ring.take_snapshot();
  std::span<const std::byte> record;
  bool is_any = false;
  // One that is still being written is of a handshake that goes on: what it opens has not been sent.
  while (s.ring.front(record) == Ring::Front::kRecord) {
    is_any = true;
    if (record.size() >= sizeof(abi::gh_tls_secret)) {
      const auto& told = *reinterpret_cast<const abi::gh_tls_secret*>(record.data());
      TlsSecret secret{.time_ns = told.head.time_ns,
                       .kind = static_cast<TlsSecret::Kind>(told.secret_kind),
                       .process = {.pid = told.process.pid, .start_ns = told.process.start_ns},
                       .secret = std::as_bytes(std::span{told.secret})};
      std::memcpy(secret.client_random.data(), told.client_random, sizeof(told.client_random));
      ++s.secret_count;
      if (told.secret_kind <= abi::GH_TLS_MASTER) sink.on_tls_secret(secret);
    }
    s.ring.pop();
  }
  if (is_any) s.ring.release();
}

void TlsKeeper::decide(SocketId socket, bool is_opened) {
  const uint32_t word = is_opened ? abi::GH_TLS_OPENED : abi::GH_TLS_SEALED;
  bpf_map_update_elem(state_->claims_fd, &socket, &word, BPF_ANY);
}

void TlsKeeper::forget(SocketId socket) {
  bpf_map_delete_elem(state_->claims_fd, &socket);
}

std::string TlsKeeper::explain(const ProcessKey& process) const {
  const std::scoped_lock lock(state_->mutex);
  const auto found = state_->processes.find(process);
  return found == state_->processes.end() ? "" : found->second.text;
}

TlsCounters TlsKeeper::counters() const {
  const State& s = *state_;
  const auto& told = *s.programs->bss;
  const std::scoped_lock lock(s.mutex);
  return {.libraries_attached = s.attached,
          .libraries_refused = s.refused,
          .lessons = s.lessons,
          .secrets = s.secret_count,
          .secrets_lost = told.gh_tls_secrets_full + told.gh_tls_secrets_faults,
          .secrets_of_others = told.gh_tls_secrets_others};
}

std::string find_tls_helper() {
  static constexpr std::string_view kName = "gatehouse-tls-learn";
  std::array<char, 4096> self{};
  const ssize_t bytes = readlink("/proc/self/exe", self.data(), self.size());
  std::vector<std::string> places;
  if (bytes > 0) {
    const std::string path(self.data(), static_cast<size_t>(bytes));
    places.push_back(path.substr(0, path.rfind('/') + 1));
  }
  places.emplace_back("/usr/libexec/gatehouse/");
  for (const std::string& place : places)
    if (const std::string path = place + std::string(kName); access(path.c_str(), X_OK) == 0) return path;
  return "";
}

}  // namespace gatehouse::capture
