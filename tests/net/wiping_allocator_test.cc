// After a connection is gone, its traffic secrets are nowhere in this process' memory.
#include "net/tls/wiping_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "net/base/check.h"
#include "net/tls/record/tls_capture.h"
#include "net/tls/tls_engine.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

constexpr uint8_t kMask = 0x5a;

// How often `masked` (each byte xor kMask) stands in the writable memory of this process.
int CountInMemory(const Bytes& masked) {
  std::ifstream maps("/proc/self/maps");
  std::ifstream memory("/proc/self/mem", std::ios::binary);
  int found = 0;
  std::string line;
  while (std::getline(maps, line)) {
    std::istringstream fields(line);
    std::string range, mode, offset, device, inode, name;
    fields >> range >> mode >> offset >> device >> inode >> name;
    if (mode.substr(0, 2) != "rw" || name.starts_with("[stack") || name.starts_with("[v")) continue;
    size_t dash = range.find('-');
    auto begin = std::stoull(range.substr(0, dash), nullptr, 16);
    auto end = std::stoull(range.substr(dash + 1), nullptr, 16);
    if (end - begin > (1u << 26)) continue;  // arenas of a sanitizer
    // Read with mask applied at once, so that this copy is not found in its turn.
    Bytes copy(end - begin);
    memory.clear();
    memory.seekg(static_cast<std::streamoff>(begin));
    std::array<char, 4096> page;
    size_t at = 0;
    while (at < copy.size() && memory.read(page.data(), page.size())) {
      for (char c : page) copy[at++] = static_cast<uint8_t>(c) ^ kMask;
    }
    std::fill(page.begin(), page.end(), 0);
    for (auto it = copy.begin();
         (it = std::search(it, copy.end(), masked.begin(), masked.end())) != copy.end(); ++it) {
      ++found;
    }
  }
  return found;
}

TEST(WipingAllocator, SecretsOfAClosedConnectionAreGone) {
  ASSERT_TRUE(WipingAllocatorInstalled());
  auto worker = TlsWorker::Create();
  ASSERT_TRUE(worker.has_value());
  TestFolder folder;
  TestCertificate certificate({});
  TlsServerOptions options;
  options.sites.push_back({.certificates = {{.chain = folder.Write("c", certificate.chain_pem()),
                                             .key = folder.Write("k", certificate.key_pem())}}});
  auto context = TlsServerContext::Create(options);
  ASSERT_TRUE(context.has_value());
  SSL_CTX* client_context = NewTlsContext(TLS_client_method());
  Bytes masked;
  {
    TlsEnginePtr server = (*worker)->NewServer(*context);
    OpenSslPeer client(client_context, false);
    TlsCapture capture;
    capture.is_server = false;
    SetTlsCapture(client.ssl(), &capture);
    for (int i = 0; i < 3; ++i) {
      {
        TlsOverhear secrets(&capture);
        client.Handshake();
      }
      FeedAll(*server, client.Take());
      client.Give(FlushAll(*server));
    }
    ASSERT_EQ(server->take_over(), TlsTakeOver::kTaken);
    for (size_t i = 0; i < capture.server_bytes; ++i) {
      masked.push_back(capture.server_secret[i] ^ kMask);
    }
    ASSERT_EQ(masked.size(), 32u);
    EXPECT_GE(CountInMemory(masked), 1);  // the search finds what is there
    SetTlsCapture(client.ssl(), nullptr);
  }
  SSL_CTX_free(client_context);
  (*worker)->EndTurn();  // the pooled contexts hold the last keys until then
  EXPECT_EQ(CountInMemory(masked), 0);
}

TEST(WipingAllocator, BlocksMoveAndShrinkWithTheirContent) {
  auto* block = static_cast<char*>(OPENSSL_malloc(100));
  std::memset(block, 'a', 100);
  block = static_cast<char*>(OPENSSL_realloc(block, 10'000));
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(std::string(block, 100), std::string(100, 'a'));
  block = static_cast<char*>(OPENSSL_realloc(block, 50));
  EXPECT_EQ(std::string(block, 50), std::string(50, 'a'));
  EXPECT_EQ(OPENSSL_realloc(block, 0), nullptr);
}

}  // namespace
}  // namespace net

int main(int argc, char** argv) {
  CHECK(net::InstallWipingAllocator());
  CHECK(net::InstallWipingAllocator());  // a second time is fine
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
