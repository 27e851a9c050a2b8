# SPDX-License-Identifier: Apache-2.0
"""scripts/tidy finds what it says it finds: each case is a small tree with one thing wrong, or nothing."""
import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
HEADER = SPDX + "#pragma once\n"


class Tidy(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name) / "a" / "checkout"
        for name in ("scripts/tidy", "docs/layers.txt"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        # In this process: starting an interpreter for each case would take most of the time.
        loader = importlib.machinery.SourceFileLoader("tidy", str(self.root / "scripts/tidy"))
        self.module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tidy", loader))
        with unittest.mock.patch.object(sys, "dont_write_bytecode", True):
            loader.exec_module(self.module)

    def tearDown(self):
        self.folder.cleanup()

    def tidy(self, **files):
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        output = io.StringIO()
        with contextlib.redirect_stdout(output), unittest.mock.patch.object(sys, "argv", ["tidy"]):
            code = self.module.main()
        return code, output.getvalue()

    def refused(self, name, content, want):
        code, output = self.tidy(**{name: content})
        self.assertEqual(code, 1, output)
        self.assertIn(f"{name}{want}", output)

    def accepted(self, name, content):
        code, output = self.tidy(**{name: content})
        self.assertEqual(code, 0, output)
        return output

    def test_clean_tree(self):
        self.accepted("common/a.h", HEADER + '#include "common/b.h"\n')

    def test_layers(self):
        self.refused("agent/sql/a.h", HEADER + '#include "agent/stream/records.h"\n',
                     ":3: error: agent/sql may not include agent/stream")
        self.refused("common/a.h", HEADER + '#include "proto/x.h"\n', ":3: error: common may not include proto")

    def test_layers_between_protocols(self):
        self.refused("agent/protocol/mysql/a.h", HEADER + '#include "agent/protocol/postgres/b.h"\n',
                     ":3: error: agent/protocol/mysql may not include agent/protocol/postgres")

    def test_layers_that_hold(self):
        self.accepted("agent/protocol/mysql/a.h", HEADER + '#include "agent/protocol/b.h"\n#include "common/c.h"\n')
        self.accepted("agent/spool/a.h", HEADER + '#include "gatehouse/v1/event.pb.h"\n')
        self.accepted("agent/sql/a_test.cc", SPDX + '#include "agent/runtime/b.h"\n')
        self.accepted("tests/fuzz/a.cc", SPDX + '#include "agent/runtime/b.h"\n')

    def test_generated_headers_count_as_proto(self):
        self.refused("common/a.cc", SPDX + '#include "gatehouse/v1/event.pb.h"\n', ":2: error: common may not include")

    def test_unknown_folder(self):
        self.refused("extra/a.h", HEADER + '#include "common/b.h"\n', ": error: extra is not in docs/layers.txt")

    def test_libraries_have_homes(self):
        self.refused("agent/sql/a.cc", SPDX + "#include <openssl/evp.h>\n", ":2: error: openssl/evp.h is at home in")
        self.refused("agent/stream/a.cc", SPDX + "#include <bpf/libbpf.h>\n", ":2: error: bpf/libbpf.h is at home in")
        self.refused("agent/stream/b.cc", SPDX + '#include "x.skel.h"\n', ":2: error: x.skel.h is at home in")
        self.refused("collector/query/a.cc", SPDX + "#include <duckdb.h>\n", ":2: error: duckdb.h is at home in")
        self.refused("agent/spool/a.cc", SPDX + "#include <grpcpp/grpcpp.h>\n", ":2: error: grpcpp/grpcpp.h is at")

    def test_includes_name_the_full_path(self):
        self.refused("common/a.cc", SPDX + '#include "b.h"\n', ':2: error: "b.h": write the full path')

    def test_banned(self):
        self.refused("common/a.cc", SPDX + "// TO" + "DO: later\n", ":2: error: unfinished business")
        self.refused("common/b.h", HEADER + "using namespace std;\n", ":3: error: using namespace in a header")
        self.refused("common/c.cc", SPDX + "\tint x;\n", ":2: error: tab")
        self.refused("common/d.cc", SPDX + "// " + "x" * 118 + "\n", ":2: error: 121 columns, at most 120")
        self.refused("common/e.cc", "int x;\n", ": error: no SPDX-License-Identifier")
        self.refused("common/f.h", SPDX, ": error: no #pragma once")
        self.refused("agent/sql/g.cc", SPDX + "void f() { std::cout << 1; }\n", ":2: error: std::cout")
        self.refused("common/h.cc", SPDX + "void f() { strcpy(a, b); }\n", ":2: error: strcpy(): not used here")
        self.refused("common/i.cc", SPDX + f'const char* p = "{self.root}/x";\n', ":2: error: names a path of this")
        self.refused("common/j.cc", SPDX + "int x; \n", ":2: error: space at the end of the line")
        self.refused("common/utils.cc", SPDX, ": error: a name that says nothing")
        self.refused("docs/k.md", "FIX" + "ME\n", ":1: error: unfinished business")

    def test_allowed(self):
        self.accepted("common/a.cc", SPDX + "// TO" + "DO(#12): with an issue\n")
        self.accepted("bpf/a.c", SPDX + "\tint x;\n")
        self.accepted("bpf/b.h", SPDX)
        self.accepted("cli/c.cc", SPDX + "void f() { std::cout << 1; }\n")
        self.accepted("docs/d.md", "x" * 500 + "\n")
        self.accepted("agent/sql/e.h", HEADER + "// not using namespace std\n")

    def test_sizes_are_warnings(self):
        body = "void f(int a,\n       int b) {\n" + "  x();\n" * 80 + "}\n"
        output = self.accepted("common/a.cc", SPDX + body + "const int t[] = {\n" + "    1,\n" * 80 + "};\n")
        self.assertIn("common/a.cc:2: worth a look: function of 83 lines", output)
        self.assertEqual(output.count("worth a look:"), 1)
        output = self.accepted("common/b.cc", SPDX + "int x;\n" * 600)
        self.assertIn("common/b.cc: worth a look: 602 lines", output)

    def test_purity(self):
        compiler = shutil.which("g++")
        self.assertIsNotNone(compiler)
        build = self.root / "build/dev/agent/sql"
        build.mkdir(parents=True)
        source = build / "x.cc"
        source.write_text("#include <ctime>\nlong now() { timespec t; clock_gettime(0, &t); return t.tv_sec; }\n")
        subprocess.run([compiler, "-c", source, "-o", build / "x.o"], check=True)
        subprocess.run(["ar", "rc", build / "libgh_sql.a", build / "x.o"], check=True)
        self.refused("agent/sql/CMakeLists.txt", "# SPDX-License-Identifier: Apache-2.0\n"
                     "gatehouse_pure_library(gh_sql SOURCES x.cc)\n", ": error: gh_sql is pure but calls clock_gettime")


if __name__ == "__main__":
    unittest.main()
