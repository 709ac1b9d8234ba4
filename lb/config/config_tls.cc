#include "lb/config/config_tls.h"

#include <algorithm>
#include <array>

#include "lb/config/config_read.h"

namespace lb {
namespace {

using net::TomlSection;

constexpr uint32_t kHandshakesMax = 1'000'000;
constexpr std::array kXmppAlpn = {"xmpp-client", "xmpp-server"};

// Keys that mean something only where the balancer ends TLS.
constexpr std::array kTlsKeys = {
    "certificates",    "tls_min",     "tls_max",       "ciphers",
    "suites",          "groups",      "alpn",          "alpn_required",
    "strict_sni",      "client_auth", "client_ca",     "client_crl",
    "ticket_key_file", "own_records", "own_handshake", "ticket_rotation"};

bool Domain(const TomlSection& section, std::string_view key, const std::string& text,
            bool wildcard) {
  std::string_view name = text;
  if (wildcard && name.starts_with("*.")) name.remove_prefix(2);
  if (net::IsHostName(std::string(name))) return true;
  section.Error(key, "is " + net::Quoted(text) + ", which is not a domain",
                wildcard ? "write it as in \"example.org\" or \"*.example.org\""
                         : "write it as in \"example.org\"");
  return false;
}

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

template <typename Keys>
void RefuseKeys(const TomlSection& section, const Keys& keys, const std::string& where,
                const std::string& remedy) {
  for (const char* key : keys) {
    if (section.Has(key)) section.Error(key, "has no effect " + where, remedy);
  }
}

void ReadCertificates(const TomlSection& section, const std::string& file, ListenerTlsConfig& out) {
  std::vector<TomlSection> list = section.Sections("certificates", kCertificatesMax);
  if (list.empty()) {
    section.Error("certificates", "is required to end TLS, but missing",
                  "add certificates = [{ chain = \"/path/chain.pem\", key = \"/path/key.pem\" }]");
  }
  for (const TomlSection& entry : list) {
    CertificateConfig certificate;
    certificate.origin = OriginOf(entry, "", file);
    certificate.chain = entry.RequiredString("chain");
    certificate.key = entry.RequiredString("key");
    certificate.ocsp = entry.String("ocsp");
    for (const std::string& name : entry.Strings("names", kCertificateNamesMax)) {
      if (Domain(entry, "names", name, true)) certificate.names.push_back(Lower(name));
    }
    out.certificates.push_back(std::move(certificate));
  }
}

void ReadPolicy(const TomlSection& section, TlsPolicyConfig& out) {
  const std::vector<std::pair<std::string_view, net::TlsVersion>> versions = {
      {"1.2", net::TlsVersion::kTls12}, {"1.3", net::TlsVersion::kTls13}};
  out.min_version = section.Enum("tls_min", out.min_version, versions);
  out.max_version = section.Enum("tls_max", out.max_version, versions);
  if (out.max_version < out.min_version) {
    section.Error("tls_max", "is below tls_min", "set it to at least tls_min");
  }
  out.ciphers = section.String("ciphers", out.ciphers);
  out.suites = section.String("suites", out.suites);
  out.groups = section.String("groups", out.groups);
  out.own_records = section.Bool("own_records", out.own_records);
  out.own_handshake = section.Bool("own_handshake", out.own_handshake);
}

void ReadAlpn(const TomlSection& section, ListenerMode mode, ListenerTlsConfig& out) {
  if (section.Has("alpn")) {
    out.alpn = section.Strings("alpn", kAlpnMax);
  } else if (mode == ListenerMode::kTls) {
    out.alpn.assign(kXmppAlpn.begin(), kXmppAlpn.end());
  }
  for (const std::string& name : out.alpn) {
    if (!name.empty() && name.size() <= 255) continue;
    section.Error("alpn", "holds a name of " + std::to_string(name.size()) + " bytes",
                  "names have 1 to 255 bytes");
  }
  out.alpn_required = section.Bool("alpn_required", false);
  if (out.alpn_required && out.alpn.empty()) {
    section.Error("alpn_required", "asks for a protocol, but alpn names none", "add alpn");
  }
}

void ReadClientAuth(const TomlSection& section, ListenerTlsConfig& out) {
  out.client_auth = section.Enum<net::TlsClientAuth>("client_auth", out.client_auth,
                                                     {{"off", net::TlsClientAuth::kOff},
                                                      {"optional", net::TlsClientAuth::kOptional},
                                                      {"required", net::TlsClientAuth::kRequired}});
  out.client_ca = AbsolutePath(section, "client_ca", "");
  out.client_crl = AbsolutePath(section, "client_crl", "");
  if (out.client_auth == net::TlsClientAuth::kRequired && out.client_ca.empty()) {
    section.Error("client_ca", "is required with client_auth = \"required\", but missing",
                  "name the file with the authorities of the clients' certificates");
  }
  if (out.client_auth == net::TlsClientAuth::kOff) {
    for (const char* key : {"client_ca", "client_crl"}) {
      if (section.String(key).empty()) continue;
      section.Error(key, "has no effect with client_auth = \"off\"", "set client_auth");
    }
  }
}

void ReadRoutes(const TomlSection& section, ListenerConfig& out) {
  std::vector<TomlSection> routes = section.Sections("route", kRoutesMax);
  bool any = out.mode == ListenerMode::kStartTls || out.mode == ListenerMode::kSni ||
             out.mode == ListenerMode::kTls;
  if (!any && !routes.empty()) {
    section.Error("route", "has no effect with mode = \"tcp\", which sees no names",
                  "remove it, or set mode = \"sni\", \"starttls\" or \"tls\"");
  }
  for (const TomlSection& route : routes) {
    RouteConfig read;
    read.domain = Lower(route.String("domain"));
    read.alpn = route.String("alpn");
    read.pool = route.RequiredString("pool");
    if (!read.domain.empty()) Domain(route, "domain", read.domain, true);
    if (read.domain.empty() && read.alpn.empty()) {
      route.Error("", "matches everything", "add domain or alpn; for the rest there is pool");
    }
    if (!read.alpn.empty() && out.mode == ListenerMode::kStartTls) {
      route.Error("alpn", "is not known when STARTTLS streams are routed", "use domain");
    }
    out.routes.push_back(std::move(read));
  }
}

}  // namespace

std::string_view ListenerModeName(ListenerMode mode) {
  switch (mode) {
    case ListenerMode::kTcp:
      return "tcp";
    case ListenerMode::kTls:
      return "tls";
    case ListenerMode::kStartTls:
      return "starttls";
    case ListenerMode::kSni:
      return "sni";
  }
  return "?";
}

void ReadListenerTls(const TomlSection& section, const std::string& file, ListenerConfig& out) {
  out.mode = section.Enum<ListenerMode>("mode", out.mode,
                                        {{"tcp", ListenerMode::kTcp},
                                         {"tls", ListenerMode::kTls},
                                         {"starttls", ListenerMode::kStartTls},
                                         {"sni", ListenerMode::kSni}});
  bool ends = out.mode == ListenerMode::kTls || out.mode == ListenerMode::kStartTls;
  out.handshake_timeout = section.Time("handshake_timeout", out.handshake_timeout,
                                       std::chrono::milliseconds(100), std::chrono::minutes(5));
  out.handshakes_max = Natural(section, "handshakes_max", out.handshakes_max, 0, kHandshakesMax);
  out.server_streams =
      section.Enum<bool>("namespace", false, {{"jabber:client", false}, {"jabber:server", true}});
  ReadRoutes(section, out);
  if (!ends) {
    RefuseKeys(section, kTlsKeys,
               "with mode = \"" + std::string(ListenerModeName(out.mode)) +
                   "\", which leaves TLS to the nodes",
               "remove it, or set mode = \"tls\" or \"starttls\"");
    return;
  }
  out.tls.origin = OriginOf(section, "certificates", file);
  ReadCertificates(section, file, out.tls);
  ReadPolicy(section, out.tls.policy);
  ReadAlpn(section, out.mode, out.tls);
  out.tls.strict_sni = section.Bool("strict_sni", false);
  ReadClientAuth(section, out.tls);
  out.tls.ticket_key_file = AbsolutePath(section, "ticket_key_file", "");
  out.tls.ticket_rotation =
      section.Time("ticket_rotation", out.tls.ticket_rotation, std::chrono::minutes(1), kDay * 7);
}

void ReadNodeTls(const TomlSection& section, const std::string& file, PoolConfig& out) {
  out.tls = section.Enum<NodeTls>(
      "tls", out.tls,
      {{"off", NodeTls::kOff}, {"tls", NodeTls::kTls}, {"starttls", NodeTls::kStartTls}});
  out.tls_origin = OriginOf(section, "tls", file);
  out.tls_verify = section.Bool("tls_verify", true);
  out.starttls_server = section.Enum<bool>("starttls_namespace", false,
                                           {{"jabber:client", false}, {"jabber:server", true}});
  auto refuse = [&section](const char* key, const std::string& where) {
    if (section.String(key).empty()) return;
    section.Error(key, "has no effect " + where, "remove it, or set tls");
  };
  if (out.tls == NodeTls::kOff) {
    for (const char* key : {"tls_ca", "tls_verify_name", "tls_sni"}) {
      refuse(key, "with tls = \"off\"");
    }
  }
  if (out.tls != NodeTls::kStartTls) refuse("starttls_to", "without tls = \"starttls\"");
  if (out.tls == NodeTls::kOff) return;
  out.tls_ca = AbsolutePath(section, "tls_ca", "");
  out.tls_verify_name = section.String("tls_verify_name");
  out.tls_sni = section.String("tls_sni");
  if (out.tls_sni.empty()) out.tls_sni = out.tls_verify_name;
  if (!out.tls_verify_name.empty()) Domain(section, "tls_verify_name", out.tls_verify_name, false);
  if (!out.tls_sni.empty()) Domain(section, "tls_sni", out.tls_sni, false);
  if (out.tls_verify && out.tls_verify_name.empty()) {
    section.Error("tls_verify_name", "is required with tls, but missing",
                  "write the name in the nodes' certificates, or set tls_verify = false");
  }
  if (out.tls != NodeTls::kStartTls) return;
  out.starttls_to = section.RequiredString("starttls_to");
  if (!out.starttls_to.empty()) Domain(section, "starttls_to", out.starttls_to, false);
}

}  // namespace lb
