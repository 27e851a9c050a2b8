// SPDX-License-Identifier: Apache-2.0
// A made /proc tree in a temporary folder. For tests.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace gatehouse::identity {

struct MadeProcess {
  uint32_t pid = 1;
  uint32_t parent_pid = 0;
  uint64_t start_ticks = 100;
  std::string name = "name";  // comm
  std::string exe;            // absolute; made in the tree's files folder if empty
  std::string content = "program";
  std::string arguments{"prog\0-x\0", 8};
  uint32_t uid = 1000, euid = 1000, gid = 100;
  std::string loginuid = "1001", session = "7";
  int32_t tty = 0x8803;  // pts/3 as user space encodes it
  std::string cgroup = "0::/system.slice/cron.service\n";
};

class MadeProc {
 public:
  MadeProc() {
    std::string name = std::filesystem::temp_directory_path() / "made_proc_XXXXXX";
    folder_ = ::mkdtemp(name.data());
    std::filesystem::create_directories(root());
    std::filesystem::create_directories(folder_ + "/files");
  }
  MadeProc(const MadeProc&) = delete;
  MadeProc& operator=(const MadeProc&) = delete;
  ~MadeProc() { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string root() const { return folder_ + "/proc"; }
  [[nodiscard]] std::string file(const std::string& name) const { return folder_ + "/files/" + name; }

  void add(const MadeProcess& made) const {
    namespace fs = std::filesystem;
    const std::string folder = root() + "/" + std::to_string(made.pid);
    remove(made.pid);
    fs::create_directories(folder + "/ns");
    std::string exe = made.exe;
    if (exe.empty()) {
      exe = file("exe" + std::to_string(made.pid));
      write(exe, made.content);
    }
    fs::create_symlink(exe, folder + "/exe");
    fs::create_symlink("/srv", folder + "/cwd");
    fs::create_symlink("pid:[4026531836]", folder + "/ns/pid");
    fs::create_symlink("mnt:[4026531841]", folder + "/ns/mnt");
    fs::create_symlink("net:[4026531840]", folder + "/ns/net");
    write(folder + "/stat", std::to_string(made.pid) + " (" + made.name + ") S " + std::to_string(made.parent_pid) +
                                " 1 1 " + std::to_string(made.tty) + " 1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 " +
                                std::to_string(made.start_ticks) + " 1000 200 18446744073709551615\n");
    write(folder + "/cmdline", made.arguments);
    write(folder + "/status", "Name:\t" + made.name + "\nUmask:\t0022\nUid:\t" + std::to_string(made.uid) + "\t" +
                                  std::to_string(made.euid) + "\t1\t1\nGid:\t" + std::to_string(made.gid) +
                                  "\t100\t100\t100\n");
    write(folder + "/loginuid", made.loginuid);
    write(folder + "/sessionid", made.session);
    write(folder + "/cgroup", made.cgroup);
  }
  void remove(uint32_t pid) const { std::filesystem::remove_all(root() + "/" + std::to_string(pid)); }

  static void write(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }

 private:
  std::string folder_;
};

}  // namespace gatehouse::identity
