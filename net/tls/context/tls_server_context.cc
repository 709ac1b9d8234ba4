#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "net/base/check.h"
#include "net/tls/context/tls_certificate.h"
#include "net/tls/context/tls_context.h"
#include "net/tls/context/tls_facts.h"
#include "net/tls/context/tls_server_impl.h"
#include "net/tls/record/tls_kdf.h"

namespace net {

namespace {

using ServerImpl = TlsServerContext::Impl;

int AcceptAnyCertificate(int, X509_STORE_CTX*) { return 1; }

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
  const std::string_view name = RawServerName(ssl);
  int index = impl->plan.SiteFor(name);
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
  const TlsTicketBinding binding = impl->plan.Binding(static_cast<size_t>(index), name);
  SSL_set_session_id_context(ssl, binding.data(), static_cast<unsigned>(binding.size()));
  if (std::string* keep = ClientNameOf(ssl)) *keep = IsTlsServerName(name) ? name : "";
  return SSL_CLIENT_HELLO_SUCCESS;
}

// RFC 6066 section 3: acknowledged where it chose the certificate.
int OnServerName(SSL* ssl, int*, void* arg) {
  auto* impl = static_cast<ServerImpl*>(arg);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const bool chose = name != nullptr && impl->plan.Choose(name).named;
  return chose ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
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
    if (certificate.ocsp_next_update <= site->plan->now()) return SSL_TLSEXT_ERR_NOACK;
    size_t size = certificate.ocsp.size();
    void* copy = OPENSSL_memdup(certificate.ocsp.data(), size);  // becomes the SSL's
    if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(size));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
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

std::unique_ptr<ServerImpl::Site> MakeSite(const TlsServerOptions& options, const TlsSite& from,
                                           ServerImpl* impl, std::vector<TlsCertificateInfo>* infos,
                                           TlsConfigErrors* errors) {
  auto site = std::make_unique<ServerImpl::Site>();
  site->plan = &impl->plan;
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
  UseTlsTickets(options, impl, context);
  BindSessions(from, site.get());
  plan.id = site->session_id_context;
  SSL_CTX_set_client_hello_cb(context, OnClientHello, impl);
  SSL_CTX_set_alpn_select_cb(context, OnAlpn, impl);
  // What the macros SSL_CTX_set_tlsext_..._callback do, with a cast that C++ has.
  SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                        reinterpret_cast<void (*)()>(OnServerName));
  SSL_CTX_set_tlsext_servername_arg(context, impl);
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
  if (options.wall_clock) plan.now = options.wall_clock;
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

std::span<const uint8_t> TlsServerContext::EndPointOf(SSL* ssl) const {
  const Impl::Site* site = impl_->SiteOf(ssl);
  const TlsCertificate* shown = site == nullptr ? nullptr : ShownTlsCertificate(*site, ssl);
  if (shown == nullptr) return {};
  return shown->end_point;
}

const TlsHandshakePlan& TlsServerContext::plan() const { return impl_->plan; }

SSL_CTX* TlsServerContext::native() const { return impl_->sites.front()->context.get(); }

}  // namespace net
