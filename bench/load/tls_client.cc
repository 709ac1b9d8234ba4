#include "bench/load/tls_client.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace bench {
namespace {

// Blocking mode with a deadline, for the priming connection only.
bool MakeBlocking(int fd) {
  pollfd poll_fd{fd, POLLOUT, 0};
  if (poll(&poll_fd, 1, 5000) != 1) return false;
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) return false;
  const timeval limit{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  return fcntl(fd, F_SETFL, 0) == 0;
}

bool Exchange(SSL* ssl, std::string_view request) {
  if (SSL_connect(ssl) != 1) return false;
  if (SSL_write(ssl, request.data(), static_cast<int>(request.size())) <= 0) return false;
  char reply[4096];
  std::size_t received = 0;
  while (received < request.size()) {
    const int n = SSL_read(ssl, reply, sizeof(reply));
    if (n <= 0) return false;
    received += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

std::expected<std::unique_ptr<TlsClient>, std::string> TlsClient::Create(
    const TlsOptions& options) {
  std::unique_ptr<TlsClient> client(new TlsClient(options));
  client->context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = client->context_.get();
  if (context == nullptr) return std::unexpected(LastError());
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, &TlsClient::KeepSession);
  SSL_CTX_set_app_data(context, client.get());
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(context, options.ca_file.empty() ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!options.ca_file.empty() &&
      SSL_CTX_load_verify_locations(context, options.ca_file.c_str(), nullptr) != 1) {
    return std::unexpected(options.ca_file + ": " + LastError());
  }
  if (!options.version.empty()) {
    const int version = options.version == "1.2" ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
  }
  return client;
}

int TlsClient::KeepSession(SSL* ssl, SSL_SESSION* session) {
  auto* self = static_cast<TlsClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if (!self->options_.resume || self->session_ != nullptr) return 0;
  self->session_.reset(session);  // the reference is ours now
  return 1;
}

std::expected<void, std::string> TlsClient::Prime(const Endpoint& to, const Endpoint* from,
                                                  std::string_view request) {
  const auto fd = Connect(to, from);
  if (!fd) return std::unexpected("priming connection: " + std::string(std::strerror(fd.error())));
  std::string error;
  SSL* ssl = nullptr;
  if (!MakeBlocking(*fd)) {
    error = "priming connection to " + to.ToString() + " failed";
  } else {
    ssl = NewConnection(*fd);
    if (ssl == nullptr || !Exchange(ssl, request)) {
      error = "priming handshake with " + to.ToString() + " failed: " + LastError();
    } else if (session_ == nullptr) {
      error = "the server at " + to.ToString() + " sent no session ticket: nothing to resume";
    }
  }
  if (ssl != nullptr) SSL_shutdown(ssl);
  SSL_free(ssl);
  close(*fd);
  if (!error.empty()) return std::unexpected(error);
  return {};
}

SSL* TlsClient::NewConnection(int fd) {
  SSL* ssl = SSL_new(context_.get());
  if (ssl == nullptr || SSL_set_fd(ssl, fd) != 1) {
    SSL_free(ssl);
    return nullptr;
  }
  if (!options_.server_name.empty()) {
    // SSL_set_tlsext_host_name, without the C cast of its macro.
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             options_.server_name.data());
    if (!options_.ca_file.empty()) SSL_set1_host(ssl, options_.server_name.c_str());
  }
  if (session_ != nullptr) {
    const std::unique_ptr<SSL_SESSION, FreeSession> copy(SSL_SESSION_dup(session_.get()));
    if (copy != nullptr) SSL_set_session(ssl, copy.get());
  }
  return ssl;
}

std::string TlsClient::LastError() {
  const unsigned long code = ERR_get_error();
  if (code == 0) return errno == 0 ? "connection closed" : std::strerror(errno);
  char text[256];
  ERR_error_string_n(code, text, sizeof(text));
  ERR_clear_error();
  return text;
}

}  // namespace bench
