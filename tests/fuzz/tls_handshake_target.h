// What the fuzz targets of the server's own handshake speak to: a site whose ticket key and
// identity never change, so that a ticket in the corpus stays good.
#pragma once

#include <openssl/evp.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "net/tls/context/tls_certificate.h"
#include "net/tls/tls_handshake.h"
#include "tests/net/tls_test_certs.h"
#include "tests/net/tls_test_hello.h"

namespace net {

class TlsHandshakeTarget {
 public:
  TlsHandshakeTarget()
      : records_(std::move(*TlsRecordPool::Create())), handshaker_(records_.get()) {
    CHECK(handshaker_.ok());
    const TestFolder folder;
    const TestCertificate certificate({});
    auto loaded = LoadTlsCertificate({.chain = folder.Write("chain.pem", certificate.chain_pem()),
                                      .key = folder.Write("key.pem", certificate.key_pem())});
    CHECK(loaded.has_value());
    std::string keys;
    for (const uint8_t fill : {uint8_t{1}, uint8_t{2}, uint8_t{3}}) {
      const Bytes key(80, fill);
      Bytes line(4 * key.size());
      const int size = EVP_EncodeBlock(line.data(), key.data(), static_cast<int>(key.size()));
      keys += ToText(line).substr(0, static_cast<size_t>(size)) + "\n";
    }
    auto tickets = TlsTicketKeys::FromFile(folder.Write("tickets", keys));
    CHECK(tickets.has_value());
    plan_.UsePolicy({});
    plan_.alpn = "\x0bxmpp-client\x0bxmpp-server";
    plan_.tickets = *tickets;
    plan_.tickets_per_handshake = 2;
    plan_.ticket_lifetime = std::chrono::hours(1'000'000);
    plan_.sites.emplace_back().Add(MakeTlsSigner(*loaded));
    CHECK(plan_.enabled);
  }

  const TlsHandshakePlan* plan() const { return &plan_; }
  TlsHandshaker& handshaker() { return handshaker_; }
  TlsRecordPool& records() { return *records_; }

  // A ticket of this site with `psk`, given out in the first second of 1970.
  Bytes Ticket(TlsSuite suite, const Bytes& psk) const {
    TlsTicket ticket{.suite = suite, .issued = 1, .site = plan_.Binding(0, "example.org")};
    CHECK(psk.size() == TlsSecretBytes(suite));
    std::ranges::copy(psk, ticket.psk.begin());
    TlsTicketSealer sealer;
    constexpr std::array<uint8_t, 12> kNonce{};
    std::array<uint8_t, kTlsTicketBytesMax> sealed;
    const size_t size = sealer.Seal(*plan_.tickets->set(), ticket, kNonce, sealed);
    CHECK(size > 0);
    return Copy(std::span(sealed).first(size));
  }

  // A hello as clients send it; with `psk` it resumes.
  HelloParts Hello(TlsSuite suite, const Bytes& share, const Bytes& psk) const {
    const TlsDigest digest = DigestOfSuite(suite);
    HelloParts hello;
    hello.random = {3, 3};
    hello.random.resize(34, 7);
    hello.session_id = Bytes(32, 9);
    hello.suites = {0x13, static_cast<uint8_t>(0x01 + static_cast<uint8_t>(suite))};
    hello.compression = {0};
    hello.extensions = {{0, Copy(Text("\0\x0e\0\0\x0b"
                                      "example.org"))},
                        {10, {0, 2, 0, 29}},
                        {13, {0, 4, 4, 3, 8, 4}},
                        {16, Copy(Text("\0\x0c\x0bxmpp-server"))},
                        {43, {2, 3, 4}},
                        {45, {1, 1}},
                        {51, {}}};
    UseShare(&hello, share);
    if (psk.empty()) return hello;
    Bytes identities;
    AddVector(&identities, 2, Ticket(suite, psk));
    AddNumber(&identities, 0, 4);
    Bytes binders;
    AddVector(&binders, 1, Bytes(TlsHashBytes(digest)));
    Bytes body;
    AddVector(&body, 2, identities);
    AddVector(&body, 2, binders);
    hello.extensions.push_back({41, body});
    Rebind(&hello, digest, psk);
    return hello;
  }

 private:
  template <size_t kSize>
  static std::span<const uint8_t> Text(const char (&text)[kSize]) {
    return {reinterpret_cast<const uint8_t*>(text), kSize - 1};
  }

  std::unique_ptr<TlsRecordPool> records_;
  TlsHandshaker handshaker_;
  TlsHandshakePlan plan_;
};

}  // namespace net
