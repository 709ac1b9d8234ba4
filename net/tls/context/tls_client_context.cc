#include <openssl/ssl.h>

#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "net/tls/context/tls_certificate.h"
#include "net/tls/context/tls_context.h"
#include "net/tls/record/tls_kdf.h"

namespace net {

struct TlsClientContext::Impl {
  SslContextPtr context;
  size_t sessions_max = 0;
  std::mutex mutex;
  // Newest first; one session a key.
  std::list<std::pair<std::string, SSL_SESSION*>> sessions;
  std::unordered_map<std::string, decltype(sessions)::iterator> by_key;

  ~Impl() {
    for (auto& [key, session] : sessions) SSL_SESSION_free(session);
  }
};

namespace {

int KeyIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

int OwnerIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

// Returns 1 when it keeps the reference.
int OnNewSession(SSL* ssl, SSL_SESSION* session) {
  const auto* key = static_cast<const std::string*>(SSL_get_ex_data(ssl, KeyIndex()));
  const auto* owner =
      static_cast<const TlsClientContext*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), OwnerIndex()));
  if (key == nullptr || key->empty() || owner == nullptr ||
      SSL_SESSION_is_resumable(session) != 1) {
    return 0;
  }
  owner->StoreSession(*key, session);
  return 1;
}

}  // namespace

TlsClientContext::TlsClientContext() : impl_(std::make_unique<Impl>()) {}
TlsClientContext::~TlsClientContext() = default;

std::expected<std::shared_ptr<const TlsClientContext>, TlsConfigErrors> TlsClientContext::Create(
    const TlsClientOptions& options) {
  std::shared_ptr<TlsClientContext> context(new TlsClientContext);
  TlsConfigErrors errors;
  Impl* impl = context->impl_.get();
  context->take_over_ = options.policy.take_over;
  context->verify_ = options.verify;
  impl->sessions_max = options.sessions_max;
  impl->context.reset(NewTlsContext(TLS_client_method()));
  if (impl->context == nullptr) {
    return std::unexpected(TlsConfigErrors{{"", "OpenSSL: " + TakeOpenSslError(), ""}});
  }
  SSL_CTX* native = impl->context.get();
  ApplyTlsPolicy(native, options.policy, &errors);
  if (options.verify) {
    LoadTlsVerification(native, options.ca, options.crl, &errors);
    SSL_CTX_set_verify(native, SSL_VERIFY_PEER, nullptr);
  }
  if (!options.certificate.chain.empty()) {
    auto own = LoadTlsCertificate(options.certificate);
    if (!own) {
      errors.push_back(own.error());
    } else if (SSL_CTX_use_cert_and_key(native, own->leaf.get(), own->key.get(), own->chain.get(),
                                        1) != 1) {
      errors.push_back({options.certificate.chain, "is refused: " + TakeOpenSslError(), ""});
    }
  }
  std::string alpn = AlpnWire(options.alpn, &errors);
  if (!alpn.empty()) {
    SSL_CTX_set_alpn_protos(native, reinterpret_cast<const unsigned char*>(alpn.data()),
                            static_cast<unsigned>(alpn.size()));
  }
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_set_ex_data(native, OwnerIndex(), context.get());
  SSL_CTX_sess_set_new_cb(native, OnNewSession);
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return context;
}

SSL_CTX* TlsClientContext::native() const { return impl_->context.get(); }

void TlsClientContext::StoreSessionsOf(SSL* ssl, const std::string* key) {
  SSL_set_ex_data(ssl, KeyIndex(), const_cast<std::string*>(key));
}

SSL_SESSION* TlsClientContext::TakeSession(const std::string& key) const {
  std::lock_guard lock(impl_->mutex);
  auto found = impl_->by_key.find(key);
  if (found == impl_->by_key.end()) return nullptr;
  SSL_SESSION* session = found->second->second;
  impl_->sessions.erase(found->second);
  impl_->by_key.erase(found);
  return session;
}

void TlsClientContext::StoreSession(const std::string& key, SSL_SESSION* session) const {
  std::lock_guard lock(impl_->mutex);
  auto& sessions = impl_->sessions;
  if (auto found = impl_->by_key.find(key); found != impl_->by_key.end()) {
    SSL_SESSION_free(found->second->second);
    sessions.erase(found->second);
    impl_->by_key.erase(found);
  }
  sessions.emplace_front(key, session);
  impl_->by_key[key] = sessions.begin();
  if (sessions.size() <= impl_->sessions_max) return;
  SSL_SESSION_free(sessions.back().second);
  impl_->by_key.erase(sessions.back().first);
  sessions.pop_back();
}

size_t TlsClientContext::sessions() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->sessions.size();
}

}  // namespace net
