#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "net/base/check.h"
#include "net/tls/context/tls_certificate.h"
#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_facts.h"
#include "net/tls/context/tls_handshake_plan.h"
#include "net/tls/record/tls_kdf.h"

namespace net {

struct TlsServerContext::Impl {
  struct Site {
    SslContextPtr context;
    std::vector<TlsCertificate> certificates;
    int verify_mode = SSL_VERIFY_NONE;
    SSL_verify_cb verify_callback = nullptr;
    std::array<uint8_t, SHA256_DIGEST_LENGTH> session_id_context{};
  };

  // Sites are stored by pointer: OpenSSL holds their address as callback argument.
  std::vector<std::unique_ptr<Site>> sites;
  TlsHandshakePlan plan;  // its sites are these, in their order
  // Fetched once: EVP_aes_256_cbc() would search for it in every handshake.
  std::unique_ptr<EVP_CIPHER, OpenSslDeleter<EVP_CIPHER_free>> ticket_cipher{
      EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr)};
};

namespace {

using ServerImpl = TlsServerContext::Impl;

int AcceptAnyCertificate(int, X509_STORE_CTX*) { return 1; }

int ImplIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// server_name out of the raw extension (RFC 6066 section 3); "" for anything malformed, which
// OpenSSL's own parser then refuses.
std::string_view RawServerName(SSL* ssl) {
  const unsigned char* data = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) != 1 || size < 5) {
    return {};
  }
  size_t list = static_cast<size_t>(data[0]) << 8 | data[1];
  size_t length = static_cast<size_t>(data[3]) << 8 | data[4];
  if (list != size - 2 || data[2] != TLSEXT_NAMETYPE_host_name || length > size - 5) return {};
  return {reinterpret_cast<const char*>(data) + 5, length};
}

int OnClientHello(SSL* ssl, int* alert, void* arg) {
  auto* impl = static_cast<ServerImpl*>(arg);
  int index = impl->plan.SiteFor(RawServerName(ssl));
  if (index < 0) {
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
  }
  const unsigned char* offered = nullptr;
  size_t offered_size = 0;
  if (impl->plan.alpn_required &&
      SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offered,
                                &offered_size) != 1) {
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
  }
  ServerImpl::Site& site = *impl->sites[static_cast<size_t>(index)];
  if (SSL_get_SSL_CTX(ssl) != site.context.get()) {
    SSL_set_SSL_CTX(ssl, site.context.get());
  }
  // SSL_set_SSL_CTX leaves these as they were.
  SSL_set_verify(ssl, site.verify_mode, site.verify_callback);
  SSL_set_session_id_context(ssl, site.session_id_context.data(),
                             static_cast<unsigned>(site.session_id_context.size()));
  return SSL_CLIENT_HELLO_SUCCESS;
}

int OnAlpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
           unsigned in_length, void* arg) {
  auto* impl = static_cast<ServerImpl*>(arg);
  if (impl->plan.alpn.empty()) return SSL_TLSEXT_ERR_NOACK;
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(
          &chosen, out_length, reinterpret_cast<const unsigned char*>(impl->plan.alpn.data()),
          static_cast<unsigned>(impl->plan.alpn.size()), in, in_length) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int OnStatusRequest(SSL* ssl, void* arg) {
  auto* site = static_cast<ServerImpl::Site*>(arg);
  const X509* used = SSL_get_certificate(ssl);
  for (const TlsCertificate& certificate : site->certificates) {
    if (certificate.ocsp.empty() || used == nullptr ||
        X509_cmp(certificate.leaf.get(), used) != 0) {
      continue;
    }
    if (certificate.ocsp_next_update <= std::time(nullptr)) return SSL_TLSEXT_ERR_NOACK;
    size_t size = certificate.ocsp.size();
    void* copy = OPENSSL_memdup(certificate.ocsp.data(), size);  // becomes the SSL's
    if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(size));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
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

// What a ticket of this site vouches for.
void BindSessions(const TlsSite& options, ServerImpl::Site* site) {
  EVP_MD_CTX* hash = EVP_MD_CTX_new();
  CHECK(hash != nullptr && EVP_DigestInit_ex(hash, EVP_sha256(), nullptr) == 1);
  auto add = [hash](std::string_view text) {
    uint64_t size = text.size();
    EVP_DigestUpdate(hash, &size, sizeof(size));
    EVP_DigestUpdate(hash, text.data(), text.size());
  };
  add(ToString(options.client_auth));
  add(options.client_any_purpose ? "any" : "client");
  for (const std::string& file : {options.client_ca, options.client_crl}) {
    auto content = file.empty() ? std::string() : ReadTlsFile(file, size_t{16} << 20);
    add(content ? *content : std::string());
  }
  for (const TlsCertificate& certificate : site->certificates) {
    std::array<uint8_t, 32> print{};
    X509_digest(certificate.leaf.get(), EVP_sha256(), print.data(), nullptr);
    add({reinterpret_cast<const char*>(print.data()), print.size()});
  }
  EVP_DigestFinal_ex(hash, site->session_id_context.data(), nullptr);
  EVP_MD_CTX_free(hash);
  SSL_CTX_set_session_id_context(site->context.get(), site->session_id_context.data(),
                                 static_cast<unsigned>(site->session_id_context.size()));
}

void UseCertificates(const TlsSite& options, ServerImpl::Site* site, TlsHandshakePlan::Site* plan,
                     std::vector<TlsCertificateInfo>* infos, TlsConfigErrors* errors) {
  std::vector<std::string> types;
  for (const TlsCertificateFiles& files : options.certificates) {
    auto loaded = LoadTlsCertificate(files);
    if (!loaded) {
      errors->push_back(loaded.error());
      continue;
    }
    TlsCertificateInfo info = InfoOf(*loaded);
    if (std::ranges::find(types, info.key_type) != types.end()) {
      errors->push_back({files.chain, "is the second " + info.key_type + " certificate of its site",
                         "keep one a key type, or make a site of its own for it"});
      continue;
    }
    types.push_back(info.key_type);
    if (SSL_CTX_use_cert_and_key(site->context.get(), loaded->leaf.get(), loaded->key.get(),
                                 loaded->chain.get(), 1) != 1) {
      errors->push_back({files.chain, "is refused: " + TakeOpenSslError(),
                         "issue it with a key of at least 2048 (RSA) or 256 (EC) bits"});
      continue;
    }
    if (options.names.empty()) {
      plan->names.insert(plan->names.end(), info.names.begin(), info.names.end());
    }
    plan->Add(MakeTlsSigner(*loaded));
    infos->push_back(std::move(info));
    site->certificates.push_back(std::move(*loaded));
  }
}

void UseClientAuth(const TlsSite& options, ServerImpl::Site* site, TlsConfigErrors* errors) {
  SSL_CTX* context = site->context.get();
  if (options.client_auth == TlsClientAuth::kOff) return;
  if (options.client_auth == TlsClientAuth::kRequired && options.client_ca.empty()) {
    errors->push_back({"", "client certificates are required but no client CA is set",
                       "set client_ca to the file of the CA that issued them"});
    return;
  }
  LoadTlsVerification(context, options.client_ca, options.client_crl, errors);
  if (!options.client_ca.empty()) {
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(options.client_ca.c_str()));
    ERR_clear_error();
  }
  if (options.client_any_purpose) {
    X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(context), X509_PURPOSE_ANY);
  }
  site->verify_mode = SSL_VERIFY_PEER;
  if (options.client_auth == TlsClientAuth::kRequired) {
    site->verify_mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  } else {
    site->verify_callback = AcceptAnyCertificate;
  }
  SSL_CTX_set_verify(context, site->verify_mode, site->verify_callback);
}

void UseTickets(const TlsServerOptions& options, SSL_CTX* context) {
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(context, static_cast<long>(options.ticket_lifetime.count()));
  if (options.tickets == nullptr) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    return;
  }
  SSL_CTX_set_num_tickets(context, options.tickets_per_handshake);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, OnTicketKey);
}

std::unique_ptr<ServerImpl::Site> MakeSite(const TlsServerOptions& options, const TlsSite& from,
                                           ServerImpl* impl, std::vector<TlsCertificateInfo>* infos,
                                           TlsConfigErrors* errors) {
  auto site = std::make_unique<ServerImpl::Site>();
  site->context.reset(NewTlsContext(TLS_server_method()));
  if (site->context == nullptr) {
    errors->push_back({"", "OpenSSL: " + TakeOpenSslError(), ""});
    return site;
  }
  SSL_CTX* context = site->context.get();
  TlsHandshakePlan::Site& plan = impl->plan.sites.emplace_back();
  plan.names = from.names;
  plan.asks_clients = from.client_auth != TlsClientAuth::kOff;
  ApplyTlsPolicy(context, options.policy, errors);
  if (from.certificates.empty()) {
    errors->push_back({"", "a TLS site has no certificate", "add one with its key"});
  }
  UseCertificates(from, site.get(), &plan, infos, errors);
  UseClientAuth(from, site.get(), errors);
  UseTickets(options, context);
  BindSessions(from, site.get());
  plan.id = site->session_id_context;
  SSL_CTX_set_ex_data(context, ImplIndex(), impl);
  SSL_CTX_set_client_hello_cb(context, OnClientHello, impl);
  SSL_CTX_set_alpn_select_cb(context, OnAlpn, impl);
  // What the macro SSL_CTX_set_tlsext_status_cb does, with a cast that C++ has.
  SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB,
                        reinterpret_cast<void (*)()>(OnStatusRequest));
  SSL_CTX_set_tlsext_status_arg(context, site.get());
  return site;
}

}  // namespace

TlsServerContext::TlsServerContext() : impl_(std::make_unique<Impl>()) {}
TlsServerContext::~TlsServerContext() = default;

std::expected<std::shared_ptr<const TlsServerContext>, TlsConfigErrors> TlsServerContext::Create(
    const TlsServerOptions& options) {
  std::shared_ptr<TlsServerContext> context(new TlsServerContext);
  TlsConfigErrors errors;
  Impl* impl = context->impl_.get();
  TlsHandshakePlan& plan = impl->plan;
  plan.UsePolicy(options.policy);
  plan.alpn = AlpnWire(options.alpn, &errors);
  plan.alpn_required = options.alpn_required;
  plan.strict_sni = options.strict_sni;
  plan.tickets = options.tickets;
  plan.tickets_per_handshake = options.tickets_per_handshake;
  plan.ticket_lifetime = options.ticket_lifetime;
  context->take_over_ = options.policy.take_over;
  if (options.sites.empty()) {
    errors.push_back({"", "TLS has no certificate", "add a site with a certificate and its key"});
  }
  for (const TlsSite& site : options.sites) {
    impl->sites.push_back(MakeSite(options, site, impl, &context->certificates_, &errors));
  }
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return context;
}

int TlsServerContext::SiteFor(std::string_view server_name) const {
  return impl_->plan.SiteFor(server_name);
}

std::span<const uint8_t> TlsServerContext::EndPointOf(const x509_st* used) const {
  for (const auto& site : impl_->sites) {
    for (const TlsCertificate& certificate : site->certificates) {
      if (certificate.leaf.get() == used) return certificate.end_point;
    }
  }
  return {};
}

const TlsHandshakePlan& TlsServerContext::plan() const { return impl_->plan; }

SSL_CTX* TlsServerContext::native() const { return impl_->sites.front()->context.get(); }

}  // namespace net
