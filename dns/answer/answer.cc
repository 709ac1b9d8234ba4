#include "dns/answer/answer.h"

#include <algorithm>
#include <cstring>

namespace dns {
namespace {

const Node* Probe(const Image& image, uint64_t hash, const uint8_t* name, size_t size) {
  size_t mask = image.slots.size() - 1;
  auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const Image::Slot& slot = image.slots[i];
    if (slot.node == kNoRef) return nullptr;
    if (slot.tag != tag) continue;
    const Node& node = image.nodes[slot.node];
    if (node.name_size == size && std::memcmp(&image.names[node.name_offset], name, size) == 0) {
      return &node;
    }
  }
}

// A node, and the image that it is of.
struct Place {
  const Image* image = nullptr;
  const Node* node = nullptr;
};

Place Look(const Generation& generation, uint64_t hash, const uint8_t* name, size_t size) {
  if (generation.overlay != nullptr) [[unlikely]] {
    const Node* node = Probe(*generation.overlay, hash, name, size);
    if (node != nullptr) return {generation.overlay.get(), node};
  }
  const Image& image = *generation.image;
  return {&image, Probe(image, hash, name, size)};
}

Found Refer(const Generation& generation, const Place& place, uint32_t ref) {
  Found found;
  found.zone = &generation.image->zones[place.node->zone];
  found.state = generation.zones[place.node->zone].get();
  if ((ref & kDynamic) != 0) {
    found.answer = generation.dynamic[ref & ~kDynamic].get();
  } else if ((ref & kSimple) != 0) {
    found.simple = reinterpret_cast<const SimpleSet*>(&place.image->simple[ref & ~kSimple]);
  } else {
    found.answer = &place.image->answers[ref];
  }
  return found;
}

Found AtNode(const Generation& generation, const Place& place, uint16_t type) {
  const Node& node = *place.node;
  uint32_t ref = node.other;
  bool delegated = (node.flags & Node::kDelegated) != 0;
  for (size_t i = 0; i < node.entry_count; ++i) {
    const Entry& entry = place.image->entries[node.first_entry + i];
    if (entry.type == type) {
      ref = entry.answer;
      break;
    }
  }
  Found found = Refer(generation, place, ref);
  if (type == static_cast<uint16_t>(Type::kAny) && ref == node.other && node.entry_count > 0 &&
      !delegated && found.zone->any != kNoRef) [[unlikely]] {
    found = Refer(generation, {generation.image.get(), place.node}, found.zone->any);
  }
  found.exists = !delegated;
  return found;
}

}  // namespace

Found Find(const Generation& generation, const Query& query) {
  Place place = Look(generation, query.hash, query.name.data(), query.name_size);
  if (place.node != nullptr) return AtNode(generation, place, query.type);
  // The name is not there: look for the longest ancestor that is.
  size_t labels_max = generation.image->labels_max;
  if (generation.overlay != nullptr)
    labels_max = std::max(labels_max, generation.overlay->labels_max);
  size_t labels = 0;
  for (size_t i = 0; query.name[i] != 0; i += query.name[i] + 1u) ++labels;
  size_t at = 0;
  while (query.name[at] != 0) {
    at += query.name[at] + 1u;
    if (--labels > labels_max) continue;
    const uint8_t* suffix = query.name.data() + at;
    size_t size = query.name_size - at;
    place = Look(generation, HashName(suffix, size), suffix, size);
    if (place.node == nullptr) continue;
    const Node& node = *place.node;
    // Below a cut everything is the child's, its DS sets too: only the cut's own is ours.
    if ((node.flags & Node::kDelegated) != 0) return Refer(generation, place, node.other);
    if ((node.flags & Node::kDname) != 0) {
      Found found = Refer(generation, place, node.below);
      found.dname_size = static_cast<uint8_t>(size);
      return found;
    }
    if (node.below != kNoRef) {
      bool in_image = (node.flags & Node::kBelowInImage) != 0;
      const Image& image = in_image ? *generation.image : *place.image;
      return AtNode(generation, {&image, &image.nodes[node.below]}, query.type);
    }
    return Refer(generation, {generation.image.get(), &node},
                 generation.image->zones[node.zone].absent);
  }
  return {};
}

const Node* FindNode(const Image& image, const Name& name) {
  ByteView wire = name.wire();
  return Probe(image, HashName(wire), wire.data(), wire.size());
}

}  // namespace dns
