// Makes OpenSSL overwrite every block of memory that it gives back. SSL_free leaves traffic secrets
// and handshake keys readable in the freed heap otherwise; with this they are gone, at no cost that
// we could measure (a handshake frees some hundred small blocks).
//
// Call first thing in main(), before any other use of OpenSSL: it refuses custom allocators once it
// has allocated. Any thread; once a process.
#pragma once

namespace net {

// True when OpenSSL now allocates through the wiping allocator (also when called again).
bool InstallWipingAllocator();
bool WipingAllocatorInstalled();

}  // namespace net
