// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/replay/ghcap.h"

namespace gatehouse::replay {

Result<std::unique_ptr<FileSource>> FileSource::open(const std::string& path) {
  GH_ASSIGN(const UniqueFd fd, open_file(path, O_RDONLY));
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return Error::system(path);
  const auto size = static_cast<size_t>(info.st_size);
  void* map = nullptr;
  if (size > 0) {
    map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (map == MAP_FAILED) return Error::system(path);
  }
  std::unique_ptr<FileSource> source(new FileSource(map, size));
  const ReadOutcome outcome = source->parser().outcome();
  if (outcome != ReadOutcome::kReading) return Error(path + ": " + std::string(outcome_text(outcome)));
  return source;
}

FileSource::FileSource(void* map, size_t size)
    : map_(map), size_(size), parser_({static_cast<const std::byte*>(map), size}) {}

FileSource::~FileSource() {
  if (map_ != nullptr) munmap(map_, size_);
}

size_t FileSource::poll(RecordSink& sink, size_t records_max) {
  size_t records = 0;
  while (records < records_max && parser_.next(sink)) ++records;
  return records;
}

}  // namespace gatehouse::replay
