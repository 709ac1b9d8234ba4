// Places under a limit, held by an object: whoever has the object has the place, and its end gives
// the place back. There is nothing to enter and leave by hand, so no way out of a function can
// leave a place behind or give it back twice.
//
// One thread, the owner's. Places and AddressPlaces must outlive what they gave out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "net/base/address.h"

namespace dns {

class Places {
 public:
  explicit Places(size_t limit) : limit_(limit) {}

  class Place {
   public:
    Place() = default;
    explicit operator bool() const { return count_ != nullptr; }
    void Release() { count_.reset(); }

   private:
    friend class Places;
    struct GiveBack {
      void operator()(size_t* count) const { --*count; }
    };
    explicit Place(size_t* count) : count_(count) { ++*count; }
    std::unique_ptr<size_t, GiveBack> count_;
  };

  // An empty Place when all are taken.
  Place Take() { return taken_ < limit_ ? Place(&taken_) : Place(); }
  size_t taken() const { return taken_; }

 private:
  size_t limit_;
  size_t taken_ = 0;
};

// So many places for each address. An address is known here exactly while it has a place.
class AddressPlaces {
 public:
  explicit AddressPlaces(uint32_t limit) : limit_(limit) {}

  class Place {
   public:
    Place() = default;
    explicit operator bool() const { return owner_ != nullptr; }

   private:
    friend class AddressPlaces;
    struct GiveBack {
      net::Address address;
      void operator()(AddressPlaces* owner) const { owner->Leave(address); }
    };
    Place(AddressPlaces* owner, const net::Address& address) : owner_(owner, GiveBack{address}) {}
    std::unique_ptr<AddressPlaces, GiveBack> owner_;
  };

  // An empty Place when the address has all of its own.
  Place Take(const net::Address& address) {
    auto it = taken_.find(address);
    if (it != taken_.end() && it->second >= limit_) return {};
    if (limit_ == 0) return {};
    ++taken_[address];
    return Place(this, address);
  }
  size_t addresses() const { return taken_.size(); }

 private:
  void Leave(const net::Address& address) {
    auto it = taken_.find(address);
    if (--it->second == 0) taken_.erase(it);
  }

  uint32_t limit_;
  std::map<net::Address, uint32_t> taken_;
};

}  // namespace dns
