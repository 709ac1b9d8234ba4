// Our key schedule beside OpenSSL's own, on whatever libssl could ask for.
#include "net/tls/record/tls_kdf.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "net/base/check.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_peer.h"

namespace net {
namespace {

Bytes FromHex(std::string_view text) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

struct Ask {
  std::string digest = "SHA2-256";
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  std::optional<Bytes> key, salt, data;
  std::string label = "test";
};

// Empty when it was refused.
Bytes Derive(const char* properties, Ask ask, size_t size) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "TLS13-KDF", properties);
  CHECK(kdf != nullptr);
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  EVP_KDF_free(kdf);
  std::string prefix = "tls13 ";
  std::vector<OSSL_PARAM> params = {
      OSSL_PARAM_construct_int("mode", &ask.mode),
      OSSL_PARAM_construct_utf8_string("digest", ask.digest.data(), 0),
      OSSL_PARAM_construct_octet_string("prefix", prefix.data(), prefix.size()),
      OSSL_PARAM_construct_octet_string("label", ask.label.data(), ask.label.size()),
  };
  auto add = [&](const char* name, std::optional<Bytes>& bytes) {
    if (bytes) {
      params.push_back(OSSL_PARAM_construct_octet_string(name, bytes->data(), bytes->size()));
    }
  };
  add("key", ask.key);
  add("salt", ask.salt);
  add("data", ask.data);
  params.push_back(OSSL_PARAM_construct_end());
  Bytes out(size);
  const bool ok = EVP_KDF_derive(context, out.data(), size, params.data()) == 1;
  EVP_KDF_CTX_free(context);
  ERR_clear_error();
  return ok ? out : Bytes();
}

Bytes Ours(const Ask& ask, size_t size) { return Derive("provider=mongoose", ask, size); }
Bytes Theirs(const Ask& ask, size_t size) { return Derive("provider=default", ask, size); }

class TlsKdf : public testing::Test {
 protected:
  void SetUp() override {
    SSL_CTX* context = NewTlsContext(TLS_server_method());  // loads the provider
    ASSERT_NE(context, nullptr);
    SSL_CTX_free(context);
  }
  Bytes Random(size_t size) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_());
    return bytes;
  }
  size_t Pick(size_t low, size_t high) { return low + random_() % (high - low + 1); }

  std::mt19937 random_{7};
};

// RFC 8448 section 3: the stages, each with what is derived from the one before.
TEST_F(TlsKdf, GivesTheSecretsOfRfc8448) {
  const Bytes early = Ours({.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .label = "derived"}, 32);
  EXPECT_EQ(early, FromHex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"));
  const Bytes shared = FromHex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d");
  const Bytes handshake = Ours(
      {.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .key = shared, .salt = early, .label = "derived"},
      32);
  EXPECT_EQ(handshake, FromHex("1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac"));
  const Bytes master =
      Ours({.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .salt = handshake, .label = "derived"}, 32);
  EXPECT_EQ(master, FromHex("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919"));
}

TEST_F(TlsKdf, AgreesWithOpenSslOnRandomExpansions) {
  for (int i = 0; i < 3000; ++i) {
    Ask ask{.digest = Pick(0, 1) == 0 ? "SHA2-256" : "SHA2-384"};
    const size_t hash = ask.digest == "SHA2-256" ? 32 : 48;
    ask.key = Random(hash);
    if (Pick(0, 3) != 0) ask.data = Random(Pick(1, 64));
    ask.label = std::string(Pick(1, 200), 'l');
    const size_t size = Pick(0, 3) == 0 ? Pick(1, 300) : Pick(1, hash);
    const Bytes expected = Theirs(ask, size);
    ASSERT_EQ(expected.size(), size);
    ASSERT_EQ(Ours(ask, size), expected) << i;
  }
}

TEST_F(TlsKdf, AgreesWithOpenSslOnRandomStages) {
  for (int i = 0; i < 1000; ++i) {
    Ask ask{.digest = Pick(0, 1) == 0 ? "SHA2-256" : "SHA2-384",
            .mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
            .label = "derived"};
    const size_t hash = ask.digest == "SHA2-256" ? 32 : 48;
    if (Pick(0, 3) != 0) ask.key = Random(Pick(1, 133));  // up to P-521's shared secret
    if (Pick(0, 3) != 0) ask.salt = Random(hash);
    const Bytes expected = Theirs(ask, hash);
    ASSERT_EQ(expected.size(), hash);
    ASSERT_EQ(Ours(ask, hash), expected) << i;
  }
}

TEST_F(TlsKdf, RefusesWhatItDoesNotKnow) {
  const Bytes key(32, 1);
  EXPECT_TRUE(Ours({.digest = "SHA2-512", .key = key}, 32).empty());
  EXPECT_TRUE(Ours({.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, .key = key}, 32).empty());
  EXPECT_TRUE(Ours({.mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .key = key}, 31).empty());
  EXPECT_TRUE(Ours({.key = key, .label = std::string(250, 'l')}, 32).empty());
  EXPECT_TRUE(Ours({.key = key, .data = Bytes(256, 1)}, 32).empty());
  EXPECT_TRUE(Ours({.key = key}, 255 * 32 + 1).empty());
  EXPECT_FALSE(Ours({.key = key}, 255 * 32).empty());
}

class Heard final : public TlsKdfListener {
 public:
  std::map<std::string, Bytes> secrets;

 private:
  void OnSecret(std::string_view label, std::span<const uint8_t> secret) override {
    secrets[std::string(label)] = Bytes(secret.begin(), secret.end());
  }
};

TEST_F(TlsKdf, OnlyTheInnermostListenerOfTheThreadHears) {
  const Ask ask{.key = Bytes(32, 1), .label = "c ap traffic"};
  Heard outer;
  {
    Heard inner;
    const Bytes secret = Ours(ask, 32);
    EXPECT_EQ(inner.secrets["c ap traffic"], secret);
    EXPECT_TRUE(outer.secrets.empty());
    std::thread([&] { Ours({.key = Bytes(32, 2), .label = "s ap traffic"}, 32); }).join();
    EXPECT_EQ(inner.secrets.size(), 1U);
  }
  Ours(ask, 32);
  EXPECT_EQ(outer.secrets.count("c ap traffic"), 1U);
}

// The other side derives with OpenSSL's own code and writes its key log.
TEST_F(TlsKdf, AHandshakesSecretsAreThoseOfThePeersKeyLog) {
  TestCertificate certificate({});
  static std::map<std::string, std::string> log;
  log.clear();
  SSL_CTX* server_context = NewTlsContext(TLS_server_method());
  SSL_CTX_use_certificate(server_context, certificate.x509());
  SSL_CTX_use_PrivateKey(server_context, certificate.key());
  SSL_CTX* client_context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_keylog_callback(client_context, [](const SSL*, const char* line) {
    const std::string_view text = line;
    log[std::string(text.substr(0, text.find(' ')))] = text.substr(text.rfind(' ') + 1);
  });
  {
    OpenSslPeer server(server_context, true);
    OpenSslPeer client(client_context, false);
    Heard heard;
    for (int i = 0; i < 3; ++i) {
      client.Handshake();
      server.Give(client.Take());
      server.Handshake();
      client.Give(server.Take());
    }
    for (const auto& [label, name] :
         std::map<std::string, std::string>{{"c hs traffic", "CLIENT_HANDSHAKE_TRAFFIC_SECRET"},
                                            {"s hs traffic", "SERVER_HANDSHAKE_TRAFFIC_SECRET"},
                                            {"c ap traffic", "CLIENT_TRAFFIC_SECRET_0"},
                                            {"s ap traffic", "SERVER_TRAFFIC_SECRET_0"},
                                            {"exp master", "EXPORTER_SECRET"}}) {
      ASSERT_EQ(heard.secrets.count(label), 1U) << label;
      EXPECT_EQ(heard.secrets[label], FromHex(log[name])) << label;
    }
  }
  SSL_CTX_free(server_context);
  SSL_CTX_free(client_context);
}

}  // namespace
}  // namespace net
