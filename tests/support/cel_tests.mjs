// SPDX-License-Identifier: Apache-2.0
// node cel_tests.mjs MODULE FILE: writes the tests that MODULE exports to FILE, as JSON.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [module, file] = process.argv.slice(2);
const { tests } = await import(pathToFileURL(module));
writeFileSync(file, JSON.stringify(tests));
