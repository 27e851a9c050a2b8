// SPDX-License-Identifier: Apache-2.0
#include "agent/uplink/fetch_authority.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <memory>

#include "common/file.h"
#include "common/pki.h"

namespace gatehouse::uplink {
namespace {

// gRPC servers refuse a handshake that does not offer HTTP/2.
constexpr unsigned char kAlpn[] = {2, 'h', '2'};

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

Result<UniqueFd> connect_within(const addrinfo& target, std::chrono::milliseconds timeout) {
  UniqueFd fd(::socket(target.ai_family, target.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Error::system("socket");
  if (::connect(fd.get(), target.ai_addr, target.ai_addrlen) == 0) return fd;
  if (errno != EINPROGRESS) return Error::system("connect");
  pollfd ready{.fd = fd.get(), .events = POLLOUT, .revents = 0};
  const int events = ::poll(&ready, 1, static_cast<int>(timeout.count()));
  if (events < 0) return Error::system("connect");
  if (events == 0) return Error::system("connect", ETIMEDOUT);
  int fault = 0;
  socklen_t bytes = sizeof fault;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &fault, &bytes);
  if (fault != 0) return Error::system("connect", fault);
  return fd;
}

Result<UniqueFd> connect_to(const std::string& address, std::chrono::milliseconds timeout) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Error::configuration(address + ": expected host:port");
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int fault = ::getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found);
  if (fault != 0) return Error(address + ": " + ::gai_strerror(fault));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  Result<UniqueFd> connected = Error(address + ": no address");
  for (const addrinfo* target = found; target != nullptr && !connected; target = target->ai_next)
    connected = connect_within(*target, timeout).context(address);
  return connected;
}

std::string chain_of(const SSL& ssl) {
  std::string pem;
  STACK_OF(X509)* const chain = SSL_get_peer_cert_chain(&ssl);
  for (int i = 0; chain != nullptr && i < sk_X509_num(chain); ++i) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), &BIO_free_all);
    if (PEM_write_bio_X509(bio.get(), sk_X509_value(chain, i)) != 1) break;
    char* data = nullptr;
    const long bytes = BIO_get_mem_data(bio.get(), &data);
    pem.append(data, static_cast<size_t>(bytes));
  }
  return pem;
}

}  // namespace

Result<std::string> fetch_authority(const std::string& address, const Sha256& fingerprint,
                                    std::chrono::milliseconds timeout) {
  GH_ASSIGN(const UniqueFd fd, connect_to(address, timeout));
  // The handshake may block, but not for longer than `timeout` in any of its reads and writes.
  const int flags = ::fcntl(fd.get(), F_GETFL);
  ::fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK);
  const timeval limit{.tv_sec = timeout.count() / 1000, .tv_usec = timeout.count() % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);

  const std::unique_ptr<SSL_CTX, FreeContext> context(SSL_CTX_new(TLS_client_method()));
  if (!context) return Error("TLS: out of memory");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // Nobody is trusted yet: the chain is compared with the fingerprint below, and the connection carries nothing.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  const std::unique_ptr<SSL, FreeSsl> ssl(SSL_new(context.get()));
  std::string name(pki::kCollectorName);
  if (!ssl || SSL_set_fd(ssl.get(), fd.get()) != 1 ||
      SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) != 1 ||
      SSL_set_alpn_protos(ssl.get(), kAlpn, sizeof kAlpn) != 0)
    return Error("TLS: cannot be set up");
  if (SSL_connect(ssl.get()) != 1) {
    ERR_clear_error();
    return Error(address + ": no TLS handshake; is this the collector's port?");
  }
  auto found = pki::find_by_fingerprint(chain_of(*ssl), fingerprint);
  ERR_clear_error();
  if (!found)
    return Error::configuration(address + ": this collector is not the one that made the token; get a token from it");
  return found;
}

}  // namespace gatehouse::uplink
