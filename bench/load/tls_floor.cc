// tls_floor: what OpenSSL's own handshake costs the server's side, in memory: no sockets, no event
// loop, the floor under every TLS server that uses the library. Client and server run in turn on
// one thread; only the server's calls are timed (thread CPU clock).
//
//   tls_floor CHAIN.pem KEY.pem full|resumed COUNT     prints one JSON object
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <time.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

namespace bench {
namespace {

constexpr int kTurnsMax = 20;

struct Free {
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(SSL_SESSION* p) const { SSL_SESSION_free(p); }
};
using Context = std::unique_ptr<SSL_CTX, Free>;
using Session = std::unique_ptr<SSL_SESSION, Free>;

std::int64_t ThreadCpuNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

Session g_session;
bool g_keep = false;

int KeepSession(SSL* /*ssl*/, SSL_SESSION* session) {
  if (!g_keep || g_session != nullptr) return 0;
  g_session.reset(session);
  return 1;
}

struct Outcome {
  bool ok = false;
  bool resumed = false;
  std::int64_t server_ns = 0;
};

// One connection: handshake, ten bytes each way (they carry the tickets), end.
Outcome Handshake(SSL_CTX* server_context, SSL_CTX* client_context, SSL_SESSION* session) {
  Outcome outcome;
  BIO* server_bio = nullptr;
  BIO* client_bio = nullptr;
  std::int64_t start = ThreadCpuNs();
  std::unique_ptr<SSL, Free> server(SSL_new(server_context));
  if (server == nullptr || BIO_new_bio_pair(&server_bio, 65536, &client_bio, 65536) != 1) {
    return outcome;
  }
  SSL_set_bio(server.get(), server_bio, server_bio);
  SSL_set_accept_state(server.get());
  outcome.server_ns += ThreadCpuNs() - start;
  std::unique_ptr<SSL, Free> client(SSL_new(client_context));
  SSL_set_bio(client.get(), client_bio, client_bio);
  SSL_set_connect_state(client.get());
  if (session != nullptr) {
    const Session copy(SSL_SESSION_dup(session));
    SSL_set_session(client.get(), copy.get());
  }
  char bytes[16] = "0123456789";
  bool client_sent = false;
  for (int turn = 0; turn < kTurnsMax && !outcome.ok; ++turn) {
    if (!client_sent && SSL_do_handshake(client.get()) == 1) {
      client_sent = SSL_write(client.get(), bytes, 10) == 10;
    }
    start = ThreadCpuNs();
    if (SSL_do_handshake(server.get()) == 1 && SSL_read(server.get(), bytes, 10) == 10) {
      outcome.ok = SSL_write(server.get(), bytes, 10) == 10;
    }
    outcome.server_ns += ThreadCpuNs() - start;
  }
  outcome.ok = outcome.ok && SSL_read(client.get(), bytes, 10) == 10;
  outcome.resumed = SSL_session_reused(client.get()) == 1;
  SSL_shutdown(client.get());
  start = ThreadCpuNs();
  SSL_shutdown(server.get());
  server.reset();
  outcome.server_ns += ThreadCpuNs() - start;
  return outcome;
}

int Main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: tls_floor CHAIN.pem KEY.pem full|resumed COUNT\n");
    return 2;
  }
  const bool resumed_wanted = std::string_view(argv[3]) == "resumed";
  const std::string_view count_text(argv[4]);
  std::uint64_t count = 0;
  std::from_chars(count_text.data(), count_text.data() + count_text.size(), count);
  if (count == 0 || count > 10'000'000) {
    std::fprintf(stderr, "tls_floor: COUNT must lie in 1..10000000\n");
    return 2;
  }
  const Context server(SSL_CTX_new(TLS_server_method()));
  const Context client(SSL_CTX_new(TLS_client_method()));
  if (SSL_CTX_use_certificate_chain_file(server.get(), argv[1]) != 1 ||
      SSL_CTX_use_PrivateKey_file(server.get(), argv[2], SSL_FILETYPE_PEM) != 1) {
    std::fprintf(stderr, "tls_floor: cannot use %s with %s: %s\n", argv[1], argv[2],
                 ERR_reason_error_string(ERR_peek_error()));
    return 2;
  }
  SSL_CTX_set_session_cache_mode(server.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(server.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(client.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_session_cache_mode(client.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(client.get(), &KeepSession);
  g_keep = resumed_wanted;
  for (int i = 0; i < 20; ++i) Handshake(server.get(), client.get(), nullptr);
  std::int64_t total = 0;
  std::uint64_t resumed = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const Outcome outcome = Handshake(server.get(), client.get(), g_session.get());
    if (!outcome.ok) {
      std::fprintf(stderr, "tls_floor: a handshake failed\n");
      return 1;
    }
    total += outcome.server_ns;
    if (outcome.resumed) ++resumed;
  }
  const bool valid = !resumed_wanted || resumed == count;
  std::printf("{\"count\":%llu,\"resumed\":%llu,\"valid\":%s,\"server_us\":%.2f}\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(resumed),
              valid ? "true" : "false",
              static_cast<double>(total) / 1e3 / static_cast<double>(count));
  g_session.reset();
  return valid ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::Main(argc, argv); }
