// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "agent/capture/tls/elf_file.h"
#include "agent/capture/tls/lesson.h"
#include "agent/capture/tls/mappings.h"
#include "common/file.h"

namespace gatehouse::capture {
namespace {

TEST(TlsMappings, AreTheFilesWhoseCodeRuns) {
  const auto files = code_mappings(
      "55d0-55d1 r--p 00000000 fe:00 11                         /usr/bin/psql\n"
      "55d1-55d2 r-xp 00001000 fe:00 11                         /usr/bin/psql\n"
      "55d2-55d3 r-xp 00002000 fe:00 11                         /usr/bin/psql\n"
      "7f00-7f01 r-xp 00000000 00:00 0 \n"
      "7f01-7f02 r-xp 00000000 fe:00 12                         /usr/lib/a b/libssl.so.3 (deleted)\n"
      "7f02-7f03 r-xp 00000000 00:00 0                          [vdso]\n"
      "7f03-7f04 r-xp 0000");
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].path, "/usr/bin/psql");
  EXPECT_EQ(files[0].range, "55d1-55d2");
  EXPECT_EQ(files[1].path, "/usr/lib/a b/libssl.so.3 (deleted)");
}

TEST(TlsLesson, IsWhatTheHelperPrints) {
  const auto lesson =
      parse_lesson("version OpenSSL 3.0\nplace offset=208464 emulated=1 label=5 secret=8 object=3 path=352,-8\n");
  ASSERT_TRUE(lesson && lesson->place);
  EXPECT_EQ(lesson->version, "OpenSSL 3.0");
  EXPECT_EQ(lesson->place->offset, 208464U);
  EXPECT_EQ(lesson->place->registers.path_count, 2);
  EXPECT_EQ(lesson->place->registers.path[1], -8);
  const auto none = parse_lesson("none it does not export SSL_new\n");
  ASSERT_TRUE(none);
  EXPECT_EQ(none->why_not, "it does not export SSL_new");
}

TEST(TlsLesson, OfAHostileLibraryIsNone) {
  for (const char* const text :
       {"", "place", "hello\n", "version x\n", "place offset=1 emulated=1 label=16 secret=8 object=3 path=0\n",
        "place offset=1 emulated=1 label=5 secret=8 object=3 path=0,1,2,3\n",
        "place offset=1 emulated=1 label=5 secret=8 object=3 path=99999999\n",
        "place offset=-1 emulated=1 label=5 secret=8 object=3 path=0\n",
        "place offset=1 emulated=1 label=5 secret=8 object=3 path=0 and more\n"})
    EXPECT_FALSE(parse_lesson(text)) << text;
  // What it says of itself may not disturb a log.
  EXPECT_EQ(parse_lesson("version a\x1b[2Jb\nnone x\n")->version, "a?[2Jb");
}

// The helper on a file, as the keeper starts it.
TlsLesson lesson_of(const std::string& path) {
  const auto fd = open_file(path, O_RDONLY);
  EXPECT_TRUE(fd) << path;
  const std::array files{fd->get()};
  std::string printed;
  auto lesson = run_lesson(GH_TLS_LEARN, files, printed);
  EXPECT_TRUE(lesson) << lesson.error().message();
  return lesson ? *lesson : TlsLesson();
}

// The library that this program's own neighbours use: what is learned of it is some of its code.
TEST(TlsLesson, OfThisHostsOpenSsl) {
  const TlsLesson lesson = lesson_of(GH_OPENSSL_LIBRARY);
  EXPECT_TRUE(lesson.version.starts_with("OpenSSL ")) << lesson.version;
  ASSERT_TRUE(lesson.place) << lesson.why_not;
  EXPECT_TRUE(lesson.place->is_emulated);
  const auto fd = open_file(GH_OPENSSL_LIBRARY, O_RDONLY);
  const auto elf = ElfFile::read(fd->get());
  ASSERT_TRUE(elf);
  EXPECT_TRUE(elf->defines("SSL_CTX_set_keylog_callback"));
  EXPECT_TRUE(elf->is_code(lesson.place->offset));
}

TEST(TlsLesson, OfWhatIsNoTlsLibraryIsAReason) {
  EXPECT_EQ(lesson_of("/proc/self/exe").why_not, "it cannot be loaded alone");
  EXPECT_EQ(lesson_of(GH_CRASHING_LIBRARY).why_not, "its code crashes when it is tried");
  // It tries to be heard beyond its sandbox, and says in its own words how that went.
  EXPECT_EQ(lesson_of(GH_PRYING_LIBRARY).why_not, "no socket, no process, no file, nobody");
}

TEST(TlsElfFile, KnowsWhatALibraryExports) {
  const auto fd = open_file("/proc/self/exe", O_RDONLY);
  ASSERT_TRUE(fd);
  const auto self = ElfFile::read(fd->get());
  ASSERT_TRUE(self);
  EXPECT_TRUE(self->is_executable());
  EXPECT_FALSE(self->defines("SSL_CTX_set_keylog_callback"));
  EXPECT_FALSE(self->is_code(UINT64_MAX));
  const auto text = open_file("/proc/self/maps", O_RDONLY);
  EXPECT_FALSE(ElfFile::read(text->get()));
}

}  // namespace
}  // namespace gatehouse::capture
