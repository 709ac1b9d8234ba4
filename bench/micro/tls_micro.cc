// What TLS costs in memory, without sockets: handshakes, records of 100 bytes and 16 KB, and an
// idle connection; the engine's own layer beside plain SSL_read/SSL_write on memory BIOs.
//
//   bench_tls_micro --benchmark_repetitions=5
//
// Times are CPU of the side that is measured; the peer's work is left out by stopping the clock.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

#include "net/base/check.h"
#include "net/tls/tls_engine.h"
#include "net/tls/wiping_allocator.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace {

using net::Bytes;

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Certificates, contexts and a worker, made once.
struct World {
  explicit World(const std::string& key_type, const char* suite = "TLS_AES_128_GCM_SHA256")
      : certificate({.key_type = key_type}) {
    net::TlsServerOptions options;
    options.policy.suites = suite;
    options.sites.push_back(
        {.certificates = {{.chain = folder.Write("c.pem", certificate.chain_pem()),
                           .key = folder.Write("c.key", certificate.key_pem())}}});
    options.tickets = net::TlsTicketKeys::Random();
    auto made = net::TlsServerContext::Create(options);
    CHECK(made.has_value());
    server = *made;
    options.policy.take_over = false;
    made = net::TlsServerContext::Create(options);
    CHECK(made.has_value());
    server_on_openssl = *made;
    client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(client, this);
    SSL_CTX_sess_set_new_cb(client, [](SSL* ssl, SSL_SESSION* got) {
      auto* self = static_cast<World*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      SSL_SESSION_free(self->session);
      self->session = got;
      return 1;
    });
    auto pool = net::TlsWorker::Create();
    CHECK(pool.has_value());
    worker = std::move(*pool);
  }
  ~World() {
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
  }

  // Seconds of CPU on the server's side for one handshake; the engine stays in `out`.
  double Handshake(const std::shared_ptr<const net::TlsServerContext>& context, bool resume,
                   net::TlsEnginePtr* out) {
    net::OpenSslPeer peer(client, false);
    if (resume) SSL_set_session(peer.ssl(), session);
    double begin = CpuSeconds();
    net::TlsEnginePtr engine = worker->NewServer(context);
    double spent = CpuSeconds() - begin;
    Bytes room(16'384);
    for (int i = 0; i < 3; ++i) {
      peer.Handshake();
      Bytes wire = peer.Take();
      begin = CpuSeconds();
      net::TlsPlaintext plain;
      engine->Feed(wire, &plain);
      size_t n = engine->wants_output() ? engine->Flush(room) : 0;
      spent += CpuSeconds() - begin;
      peer.Give(Bytes(room.begin(), room.begin() + static_cast<long>(n)));
    }
    peer.Read();
    CHECK(engine->state() == net::TlsState::kOpen);
    begin = CpuSeconds();
    auto facts = engine->TakeFacts();
    CHECK(facts->resumed == resume);
    facts.reset();
    if (out == nullptr) engine.reset();
    spent += CpuSeconds() - begin;
    if (out != nullptr) *out = std::move(engine);
    return spent;
  }

  net::TestFolder folder;
  net::TestCertificate certificate;
  std::shared_ptr<const net::TlsServerContext> server;
  std::shared_ptr<const net::TlsServerContext> server_on_openssl;
  SSL_CTX* client = nullptr;
  SSL_SESSION* session = nullptr;
  std::unique_ptr<net::TlsWorker> worker;
};

// --- handshakes -------------------------------------------------------------------------------

void BM_Handshake(benchmark::State& state, const char* key_type, bool resume, bool take_over) {
  World world(key_type);
  const auto& context = take_over ? world.server : world.server_on_openssl;
  world.Handshake(context, false, nullptr);
  for (auto _ : state) state.SetIterationTime(world.Handshake(context, resume, nullptr));
}

// The floor: OpenSSL alone on memory BIOs, with one ticket and none of our callbacks.
void BM_HandshakePlain(benchmark::State& state, const char* key_type, bool resume) {
  World world(key_type);
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate(context, world.certificate.x509());
  SSL_CTX_use_PrivateKey(context, world.certificate.key());
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 1);
  CHECK(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1);
  auto handshake = [&](bool resumed) {
    net::OpenSslPeer peer(world.client, false);
    if (resumed) SSL_set_session(peer.ssl(), world.session);
    double begin = CpuSeconds();
    auto server = std::make_unique<net::OpenSslPeer>(context, true);
    double spent = CpuSeconds() - begin;
    for (int i = 0; i < 3; ++i) {
      peer.Handshake();
      Bytes wire = peer.Take();
      begin = CpuSeconds();
      server->Give(wire);
      server->Handshake();
      wire = server->Take();
      spent += CpuSeconds() - begin;
      peer.Give(wire);
    }
    peer.Read();
    CHECK((SSL_session_reused(server->ssl()) == 1) == resumed);
    begin = CpuSeconds();
    server.reset();
    return spent + CpuSeconds() - begin;
  };
  handshake(false);
  for (auto _ : state) state.SetIterationTime(handshake(resume));
  SSL_CTX_free(context);
}
BENCHMARK_CAPTURE(BM_HandshakePlain, p256, "P-256", false)->UseManualTime();
BENCHMARK_CAPTURE(BM_HandshakePlain, rsa2048, "RSA2048", false)->UseManualTime();
BENCHMARK_CAPTURE(BM_HandshakePlain, p256_resumed, "P-256", true)->UseManualTime();
BENCHMARK_CAPTURE(BM_Handshake, p256, "P-256", false, true)->UseManualTime();
BENCHMARK_CAPTURE(BM_Handshake, p256_stays_on_openssl, "P-256", false, false)->UseManualTime();
BENCHMARK_CAPTURE(BM_Handshake, rsa2048, "RSA2048", false, true)->UseManualTime();
BENCHMARK_CAPTURE(BM_Handshake, p256_resumed, "P-256", true, true)->UseManualTime();
BENCHMARK_CAPTURE(BM_Handshake, p256_resumed_on_openssl, "P-256", true, false)->UseManualTime();

// --- records: ours ----------------------------------------------------------------------------

constexpr const char* kSuites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                   "TLS_CHACHA20_POLY1305_SHA256"};

struct Ends {
  explicit Ends(size_t suite) {
    auto made = net::TlsRecordPool::Create();
    CHECK(made.has_value());
    pool = std::move(*made);
    auto which = static_cast<net::TlsSuite>(suite);
    Bytes secret(net::TlsSecretBytes(which), 7);
    CHECK(sender.Start(*pool, which, true, secret, secret, 0, 0, net::kTlsMaxPlaintext));
    CHECK(receiver.Start(*pool, which, false, secret, secret, 0, 0, net::kTlsMaxPlaintext));
  }
  ~Ends() {
    sender.End(*pool);
    receiver.End(*pool);
  }
  std::unique_ptr<net::TlsRecordPool> pool;
  net::TlsRecordLayer sender;
  net::TlsRecordLayer receiver;
};

void BM_Seal(benchmark::State& state) {
  Ends ends(static_cast<size_t>(state.range(0)));
  Bytes plain(static_cast<size_t>(state.range(1)), 'a');
  Bytes out(plain.size() + 128);
  std::span<const uint8_t> part(plain);
  for (auto _ : state) {
    benchmark::DoNotOptimize(ends.sender.Write(*ends.pool, std::span(&part, 1), out));
  }
  state.SetLabel(kSuites[state.range(0)]);
  state.SetBytesProcessed(state.iterations() * state.range(1));
}
BENCHMARK(BM_Seal)->ArgsProduct({{0, 1, 2}, {100, 16'384}});

constexpr int kBatch = 64;  // records in the time that is shown

void CountRecords(benchmark::State& state) {
  state.counters["per_record"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kBatch),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void BM_Open(benchmark::State& state) {
  Ends ends(static_cast<size_t>(state.range(0)));
  Bytes plain(static_cast<size_t>(state.range(1)), 'a');
  std::span<const uint8_t> part(plain);
  std::vector<Bytes> wires(kBatch, Bytes(plain.size() + net::kTlsRecordOverhead));
  net::TlsPlaintext opened;
  for (auto _ : state) {
    for (Bytes& wire : wires) ends.sender.Write(*ends.pool, std::span(&part, 1), wire);
    double begin = CpuSeconds();
    for (Bytes& wire : wires) ends.receiver.Feed(*ends.pool, wire, &opened);
    state.SetIterationTime(CpuSeconds() - begin);
    CHECK(opened.bytes == plain.size());
  }
  CountRecords(state);
  state.SetLabel(kSuites[state.range(0)]);
}
BENCHMARK(BM_Open)->ArgsProduct({{0, 1, 2}, {100, 16'384}})->UseManualTime();

// --- records: plain OpenSSL -------------------------------------------------------------------

// A server on OpenSSL alone, with its client.
struct PlainPair {
  PlainPair(World& world, const char* suite) {
    context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context, world.certificate.x509());
    SSL_CTX_use_PrivateKey(context, world.certificate.key());
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    CHECK(SSL_CTX_set_ciphersuites(context, suite) == 1);
    server = std::make_unique<net::OpenSslPeer>(context, true);
    client = std::make_unique<net::OpenSslPeer>(world.client, false);
    for (int i = 0; i < 3; ++i) {
      client->Handshake();
      server->Give(client->Take());
      server->Handshake();
      client->Give(server->Take());
    }
    client->Read();
  }
  ~PlainPair() { SSL_CTX_free(context); }
  SSL_CTX* context;
  std::unique_ptr<net::OpenSslPeer> server;
  std::unique_ptr<net::OpenSslPeer> client;
};

void BM_SslWrite(benchmark::State& state) {
  World world("P-256");
  PlainPair pair(world, kSuites[state.range(0)]);
  Bytes plain(static_cast<size_t>(state.range(1)), 'a');
  Bytes out(plain.size() + 256);
  BIO* written = SSL_get_wbio(pair.server->ssl());
  for (auto _ : state) {
    CHECK(SSL_write(pair.server->ssl(), plain.data(), static_cast<int>(plain.size())) > 0);
    CHECK(BIO_read(written, out.data(), static_cast<int>(out.size())) > 0);
  }
  state.SetLabel(kSuites[state.range(0)]);
  state.SetBytesProcessed(state.iterations() * state.range(1));
}
BENCHMARK(BM_SslWrite)->ArgsProduct({{0, 1, 2}, {100, 16'384}});

void BM_SslRead(benchmark::State& state) {
  World world("P-256");
  PlainPair pair(world, kSuites[state.range(0)]);
  Bytes plain(static_cast<size_t>(state.range(1)), 'a');
  Bytes out(plain.size() + 256);
  BIO* input = SSL_get_rbio(pair.server->ssl());
  std::vector<Bytes> wires(kBatch);
  for (auto _ : state) {
    for (Bytes& wire : wires) {
      pair.client->Write(plain);
      wire = pair.client->Take();
    }
    double begin = CpuSeconds();
    for (Bytes& wire : wires) {
      BIO_write(input, wire.data(), static_cast<int>(wire.size()));
      CHECK(SSL_read(pair.server->ssl(), out.data(), static_cast<int>(out.size())) > 0);
    }
    state.SetIterationTime(CpuSeconds() - begin);
  }
  CountRecords(state);
  state.SetLabel(kSuites[state.range(0)]);
}
BENCHMARK(BM_SslRead)->ArgsProduct({{0, 1, 2}, {100, 16'384}})->UseManualTime();

// --- an echo as the relay does it: many connections, each woken rarely ------------------------

void BM_EchoColdWakeUp(benchmark::State& state, bool take_over) {
  World world("P-256");
  constexpr size_t kConnections = 1000;
  std::vector<std::unique_ptr<net::OpenSslPeer>> peers;
  std::vector<net::TlsEnginePtr> engines;
  const auto& context = take_over ? world.server : world.server_on_openssl;
  for (size_t i = 0; i < kConnections; ++i) {
    peers.push_back(std::make_unique<net::OpenSslPeer>(world.client, false));
    engines.push_back(world.worker->NewServer(context));
    for (int j = 0; j < 3; ++j) {
      peers[i]->Handshake();
      net::FeedAll(*engines[i], peers[i]->Take());
      peers[i]->Give(net::FlushAll(*engines[i]));
    }
    engines[i]->TakeFacts();
    peers[i]->Read();
  }
  Bytes plain(100, 'a');
  Bytes out(512);
  std::vector<Bytes> wires(kConnections);
  for (auto _ : state) {
    for (size_t i = 0; i < kConnections; ++i) {
      peers[i]->Write(plain);
      wires[i] = peers[i]->Take();
    }
    double begin = CpuSeconds();
    for (size_t i = 0; i < kConnections; ++i) {
      net::TlsPlaintext opened;
      engines[i]->Feed(wires[i], &opened);
      std::span<const uint8_t> part = opened.spans[0];
      net::TlsSealed sealed = engines[i]->Write(std::span(&part, 1), out);
      engines[i]->Release();
      benchmark::DoNotOptimize(sealed);
    }
    state.SetIterationTime(CpuSeconds() - begin);
  }
  state.counters["per_echo"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kConnections,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(BM_EchoColdWakeUp, own_records, true)->UseManualTime();
BENCHMARK_CAPTURE(BM_EchoColdWakeUp, on_openssl, false)->UseManualTime();

// --- memory of an idle connection -------------------------------------------------------------

size_t ResidentBytes() {
  size_t pages = 0;
  size_t resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  CHECK(file != nullptr && std::fscanf(file, "%zu %zu", &pages, &resident) == 2);
  std::fclose(file);
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Not a time: the counters say bytes a connection over 4,000 in memory, 32 handshakes at once.
void BM_IdleConnection(benchmark::State& state, bool take_over) {
  constexpr size_t kConnections = 4000;
  constexpr size_t kAtOnce = 32;
  World world("P-256");
  const auto& context = take_over ? world.server : world.server_on_openssl;
  std::vector<net::TlsEnginePtr> engines;
  engines.reserve(kConnections);
  auto batch = [&](bool keep) {
    std::vector<std::unique_ptr<net::OpenSslPeer>> peers;
    std::vector<net::TlsEnginePtr> fresh;
    for (size_t i = 0; i < kAtOnce; ++i) {
      peers.push_back(std::make_unique<net::OpenSslPeer>(world.client, false));
      fresh.push_back(world.worker->NewServer(context));
    }
    for (int j = 0; j < 3; ++j) {
      for (size_t i = 0; i < kAtOnce; ++i) {
        peers[i]->Handshake();
        net::FeedAll(*fresh[i], peers[i]->Take());
        peers[i]->Give(net::FlushAll(*fresh[i]));
      }
    }
    for (net::TlsEnginePtr& engine : fresh) {
      CHECK(engine->state() == net::TlsState::kOpen);
      engine->TakeFacts();
      if (keep) engines.push_back(std::move(engine));
    }
  };
  for (auto _ : state) {
    batch(false);
    malloc_trim(0);
    size_t heap = mallinfo2().uordblks;
    size_t resident = ResidentBytes();
    while (engines.size() < kConnections) batch(true);
    malloc_trim(0);
    double n = static_cast<double>(engines.size());
    state.counters["heap_bytes"] = static_cast<double>(mallinfo2().uordblks - heap) / n;
    state.counters["rss_bytes"] =
        (static_cast<double>(ResidentBytes()) - static_cast<double>(resident)) / n;
    engines.clear();
  }
}
BENCHMARK_CAPTURE(BM_IdleConnection, own_records, true)->Iterations(1)->Unit(benchmark::kSecond);
BENCHMARK_CAPTURE(BM_IdleConnection, on_openssl, false)->Iterations(1)->Unit(benchmark::kSecond);

}  // namespace

int main(int argc, char** argv) {
  CHECK(net::InstallWipingAllocator());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
