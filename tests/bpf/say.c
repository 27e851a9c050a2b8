// SPDX-License-Identifier: Apache-2.0
// say DESCRIPTOR SQL: writes a Query message on a socket that it was given, and stays until its standard input ends.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  char message[1024] = "Q";
  const uint32_t bytes = (uint32_t)strlen(argv[2]) + 5;
  if (bytes >= sizeof message) return 64;
  for (int i = 0; i < 4; ++i) message[1 + i] = (char)(bytes >> (24 - 8 * i));
  memcpy(message + 5, argv[2], bytes - 4);
  if (write(atoi(argv[1]), message, bytes + 1) != (ssize_t)(bytes + 1)) return 1;
  char byte;
  return read(0, &byte, 1) == 0 ? 0 : 1;
}
