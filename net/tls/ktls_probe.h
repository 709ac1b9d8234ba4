// Whether this kernel can take over TLS records (kTLS). Reported at start only; nothing needs it.
#pragma once

#include <string>

namespace net {

struct KtlsSupport {
  bool available = false;
  std::string detail;  // "the kernel offers the tls ULP" or why not, for the start-up log
};

// Opens and closes one unconnected TCP socket. Start-up only.
KtlsSupport ProbeKtls();

}  // namespace net
