#include "net/tls/context/tls_certificate.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <ctime>

#include "net/tls/context/tls_facts.h"

namespace net {

namespace {

int64_t ToUnix(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return static_cast<int64_t>(timegm(&parts));
}

// The private key may be readable for a group (Debian's ssl-cert), never for all, never writable
// for others than its owner.
std::expected<void, TlsConfigError> CheckKeyFileMode(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || (info.st_mode & 027) == 0) return {};
  return std::unexpected(TlsConfigError{path, "the private key is open to others than its owner",
                                        "run: chmod 0600 " + path});
}

std::expected<void, TlsConfigError> LoadChain(const std::string& path,
                                              TlsCertificate* certificate) {
  auto text = ReadTlsFile(path);
  if (!text) return std::unexpected(text.error());
  BioPtr bio = MemoryBio(*text);
  certificate->file = path;
  certificate->leaf.reset(PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr));
  if (certificate->leaf == nullptr) {
    ERR_clear_error();
    return std::unexpected(TlsConfigError{path, "holds no certificate in PEM form",
                                          "it must begin with -----BEGIN CERTIFICATE-----"});
  }
  certificate->end_point = TlsServerEndPoint(certificate->leaf.get());
  certificate->chain.reset(sk_X509_new_null());
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    sk_X509_push(certificate->chain.get(), next);
  }
  ERR_clear_error();  // the end of the file is an error to PEM_read
  return {};
}

int NoPassphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

std::expected<void, TlsConfigError> LoadKey(const std::string& path, TlsCertificate* certificate) {
  if (path.empty()) {
    return std::unexpected(TlsConfigError{certificate->file, "has no private key configured",
                                          "set key to the file of its private key"});
  }
  auto text = ReadTlsFile(path);
  if (!text) return std::unexpected(text.error());
  if (auto mode = CheckKeyFileMode(path); !mode) return std::unexpected(mode.error());
  bool asked = false;
  certificate->key.reset(
      PEM_read_bio_PrivateKey(MemoryBio(*text).get(), nullptr, NoPassphrase, &asked));
  OPENSSL_cleanse(text->data(), text->size());
  ERR_clear_error();
  if (certificate->key == nullptr && asked) {
    return std::unexpected(TlsConfigError{
        path, "the private key is encrypted",
        "store it without a passphrase: openssl pkey -in " + path + " -out FILE, with mode 0600"});
  }
  if (certificate->key == nullptr) {
    return std::unexpected(
        TlsConfigError{path, "holds no private key in PEM form",
                       "it must begin with -----BEGIN PRIVATE KEY----- or alike"});
  }
  if (X509_check_private_key(certificate->leaf.get(), certificate->key.get()) != 1) {
    ERR_clear_error();
    return std::unexpected(TlsConfigError{
        path, "the private key does not match the certificate in " + certificate->file,
        "set key to the one that the certificate was issued for"});
  }
  return {};
}

std::expected<void, TlsConfigError> LoadOcsp(const std::string& path, TlsCertificate* certificate) {
  auto text = ReadTlsFile(path);
  if (!text) return std::unexpected(text.error());
  const auto* der = reinterpret_cast<const uint8_t*>(text->data());
  std::unique_ptr<OCSP_RESPONSE, OpenSslDeleter<OCSP_RESPONSE_free>> response(
      d2i_OCSP_RESPONSE(nullptr, &der, static_cast<long>(text->size())));
  std::string remedy = "fetch it anew: openssl ocsp -respout " + path + " ...";
  if (response == nullptr) {
    ERR_clear_error();
    return std::unexpected(TlsConfigError{path, "is no OCSP response in DER form", remedy});
  }
  std::unique_ptr<OCSP_BASICRESP, OpenSslDeleter<OCSP_BASICRESP_free>> basic(
      OCSP_response_get1_basic(response.get()));
  ERR_clear_error();
  if (OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL || basic == nullptr ||
      OCSP_resp_count(basic.get()) < 1) {
    return std::unexpected(TlsConfigError{path, "is an OCSP response without an answer", remedy});
  }
  OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), 0);
  const ASN1_INTEGER* serial = nullptr;
  OCSP_id_get0_info(nullptr, nullptr, nullptr, const_cast<ASN1_INTEGER**>(&serial),
                    const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)));
  if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate->leaf.get())) != 0) {
    return std::unexpected(
        TlsConfigError{path, "answers for another certificate than " + certificate->file, remedy});
  }
  ASN1_GENERALIZEDTIME* next_update = nullptr;
  OCSP_single_get0_status(single, nullptr, nullptr, nullptr, &next_update);
  certificate->ocsp_next_update = next_update == nullptr ? INT64_MAX : ToUnix(next_update);
  certificate->ocsp = std::move(*text);
  return {};
}

}  // namespace

BioPtr MemoryBio(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::expected<TlsCertificate, TlsConfigError> LoadTlsCertificate(const TlsCertificateFiles& files) {
  TlsCertificate certificate;
  if (auto ok = LoadChain(files.chain, &certificate); !ok) return std::unexpected(ok.error());
  if (auto ok = LoadKey(files.key, &certificate); !ok) return std::unexpected(ok.error());
  if (!files.ocsp.empty()) {
    if (auto ok = LoadOcsp(files.ocsp, &certificate); !ok) return std::unexpected(ok.error());
  }
  return certificate;
}

int64_t TlsNotAfter(const X509* certificate) { return ToUnix(X509_get0_notAfter(certificate)); }

TlsCertificateInfo InfoOf(const TlsCertificate& certificate) {
  TlsPeerCertificate facts = DescribeCertificate(certificate.leaf.get());
  TlsCertificateInfo info;
  info.file = certificate.file;
  info.subject = facts.subject;
  const char* type = EVP_PKEY_get0_type_name(certificate.key.get());
  info.key_type = type == nullptr ? "?" : type;
  info.names = facts.dns_names;
  for (const std::string& address : facts.xmpp_addrs) {
    if (address.find_first_of("@/") == std::string::npos) info.names.push_back(address);
  }
  if (info.names.empty() && !facts.common_name.empty()) info.names.push_back(facts.common_name);
  info.not_before = ToUnix(X509_get0_notBefore(certificate.leaf.get()));
  info.not_after = ToUnix(X509_get0_notAfter(certificate.leaf.get()));
  info.ocsp_next_update = certificate.ocsp_next_update;
  return info;
}

int64_t TlsCertificateInfo::DaysLeft(int64_t now) const {
  int64_t left = not_after - now;
  constexpr int64_t kDay = 86'400;
  return left >= 0 ? left / kDay : -((-left + kDay - 1) / kDay);
}

}  // namespace net
