// Tickets of the handshakes that OpenSSL does on the server's side. What it leaves out is kept in a
// ticket's application data: which certificate was shown, since a resumed connection is bound to
// that one and not to the site's first, and until when the session may be resumed at all, since a
// ticket that is given out anew at each resumption would else live for ever.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "net/tls/context/tls_server_impl.h"

namespace net {

namespace {

using ServerImpl = TlsServerContext::Impl;

constexpr uint8_t kNotesFormat = 1;
constexpr size_t kNoCertificate = 255;

struct Notes {
  size_t certificate = kNoCertificate;  // of the site's
  int64_t ends = 0;                     // seconds since 1970; not resumed from then on
};

std::optional<Notes> ReadNotes(const SSL_SESSION* session) {
  void* data = nullptr;
  size_t size = 0;
  if (session == nullptr ||
      SSL_SESSION_get0_ticket_appdata(const_cast<SSL_SESSION*>(session), &data, &size) != 1) {
    return {};
  }
  ByteReader reader({static_cast<const uint8_t*>(data), size});
  if (reader.Number(1) != kNotesFormat) return {};
  Notes notes;
  notes.certificate = reader.Number(1);
  notes.ends = static_cast<int64_t>(reader.Number(8));
  if (!reader.done()) return {};
  return notes;
}

bool WriteNotes(SSL_SESSION* session, const Notes& notes) {
  std::vector<uint8_t> data = {kNotesFormat, static_cast<uint8_t>(notes.certificate)};
  AppendNumber(&data, static_cast<size_t>(notes.ends), 8);
  return SSL_SESSION_set1_ticket_appdata(session, data.data(), data.size()) == 1;
}

size_t IndexOf(const ServerImpl::Site& site, const X509* used) {
  for (size_t i = 0; i < std::min(site.certificates.size(), kNoCertificate); ++i) {
    if (site.certificates[i].leaf.get() == used) return i;
  }
  return kNoCertificate;
}

// OpenSSL is about to seal the session. Returns 0 to fail the connection.
int OnTicketMade(SSL* ssl, void* arg) {
  auto* impl = static_cast<ServerImpl*>(arg);
  SSL_SESSION* session = SSL_get_session(ssl);
  const ServerImpl::Site* site = impl->SiteOf(ssl);
  const int64_t now = impl->plan.now();
  if (SSL_session_reused(ssl) == 1) {
    // The notes came with it. TLS 1.2 keeps the session's own time, too.
    const std::optional<Notes> notes = ReadNotes(session);
    if (!notes) return 0;
    if (SSL_version(ssl) == TLS1_3_VERSION) {
      SSL_SESSION_set_timeout(session, std::max<long>(1, static_cast<long>(notes->ends - now)));
    }
    return 1;
  }
  Notes notes{
      .certificate = site == nullptr ? kNoCertificate : IndexOf(*site, SSL_get_certificate(ssl)),
      .ends = now + impl->plan.ticket_lifetime.count()};
  if (const X509* peer = SSL_SESSION_get0_peer(session)) {
    notes.ends = std::min(notes.ends, TlsNotAfter(peer));
  }
  SSL_SESSION_set_timeout(session, std::max<long>(1, static_cast<long>(notes.ends - now)));
  return WriteNotes(session, notes) ? 1 : 0;
}

SSL_TICKET_RETURN OnTicketOpened(SSL* ssl, SSL_SESSION* session, const unsigned char*, size_t,
                                 SSL_TICKET_STATUS status, void* arg) {
  auto* impl = static_cast<ServerImpl*>(arg);
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  const ServerImpl::Site* site = impl->SiteOf(ssl);
  const std::optional<Notes> notes = ReadNotes(session);
  // Without notes: of a version that made none.
  if (site == nullptr || !notes || impl->plan.now() >= notes->ends ||
      notes->certificate >= site->certificates.size()) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  return status == SSL_TICKET_SUCCESS_RENEW ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

bool SetTicketKey(const ServerImpl& impl, const TlsTicketKey& key, const unsigned char* iv,
                  EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) {
  std::array<char, 7> digest = {"SHA256"};
  TlsTicketKey copy = key;  // OSSL_PARAM wants it writable
  std::array<OSSL_PARAM, 3> params = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, copy.hmac.data(), copy.hmac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  bool ok = EVP_MAC_CTX_set_params(mac, params.data()) == 1 &&
            EVP_CipherInit_ex(cipher, impl.ticket_cipher.get(), nullptr, copy.aes.data(), iv,
                              encrypt) == 1;
  OPENSSL_cleanse(&copy, sizeof(copy));
  return ok;
}

int ImplIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// 1 go on, 2 go on and issue a new ticket, 0 not our key: full handshake, -1 error.
int OnTicketKey(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                EVP_MAC_CTX* mac, int encrypt) {
  auto* impl = static_cast<ServerImpl*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ImplIndex()));
  if (impl == nullptr || impl->plan.tickets == nullptr || impl->ticket_cipher == nullptr)
    return encrypt != 0 ? -1 : 0;
  std::shared_ptr<const TlsTicketKeySet> set = impl->plan.tickets->set();
  if (encrypt != 0) {
    const TlsTicketKey& current = set->keys[TlsTicketKeySet::kCurrent];
    std::memcpy(name, current.name.data(), current.name.size());
    if (RAND_bytes(iv, 16) != 1) return -1;
    return SetTicketKey(*impl, current, iv, cipher, mac, 1) ? 1 : -1;
  }
  for (size_t i = 0; i < set->keys.size(); ++i) {
    const TlsTicketKey& key = set->keys[i];
    if (std::memcmp(name, key.name.data(), key.name.size()) != 0) continue;
    if (!SetTicketKey(*impl, key, iv, cipher, mac, 0)) return -1;
    // TLS 1.3 clients use a ticket once, so they need a new one each time.
    bool renew = i != TlsTicketKeySet::kCurrent || SSL_version(ssl) == TLS1_3_VERSION;
    return renew ? 2 : 1;
  }
  return 0;
}

}  // namespace

const ServerImpl::Site* TlsServerContext::Impl::SiteOf(const SSL* ssl) const {
  const SSL_CTX* used = SSL_get_SSL_CTX(ssl);
  for (const auto& site : sites) {
    if (site->context.get() == used) return site.get();
  }
  return nullptr;
}

void UseTlsTickets(const TlsServerOptions& options, ServerImpl* impl, SSL_CTX* context) {
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(context, static_cast<long>(options.ticket_lifetime.count()));
  if (options.tickets == nullptr) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    return;
  }
  SSL_CTX_set_ex_data(context, ImplIndex(), impl);
  SSL_CTX_set_num_tickets(context, options.tickets_per_handshake);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, OnTicketKey);
  SSL_CTX_set_session_ticket_cb(context, OnTicketMade, OnTicketOpened, impl);
}

const TlsCertificate* ShownTlsCertificate(const ServerImpl::Site& site, SSL* ssl) {
  size_t index = kNoCertificate;
  if (SSL_session_reused(ssl) != 1) {
    index = IndexOf(site, SSL_get_certificate(ssl));
  } else if (const std::optional<Notes> notes = ReadNotes(SSL_get_session(ssl))) {
    index = notes->certificate;
  }
  return index < site.certificates.size() ? &site.certificates[index] : nullptr;
}

}  // namespace net
