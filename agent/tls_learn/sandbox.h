// SPDX-License-Identifier: Apache-2.0
// The sandbox in which a library's code runs that may be anybody's: no privileges, no network, no other process, no
// file that is not everybody's to read, little memory and little time.
#pragma once

namespace gatehouse::tls_learn {

// Of the calling process, for good; it must be its only thread. What cannot be had where it is not root is left out,
// but the filter of system calls is not. False: it is not to go on.
bool enter_sandbox();

}  // namespace gatehouse::tls_learn
