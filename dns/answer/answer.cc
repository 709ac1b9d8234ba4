#include "dns/answer/answer.h"

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

uint32_t AnswerRef(const Image& image, const Node& node, uint16_t type) {
  for (size_t i = 0; i < node.entry_count; ++i) {
    const Entry& entry = image.entries[node.first_entry + i];
    if (entry.type == type) return entry.answer;
  }
  return node.other;
}

Found AtNode(const Generation& generation, const Node& node, uint16_t type) {
  const Image& image = *generation.image;
  return {&generation.At(AnswerRef(image, node, type)), &image.zones[node.zone], !node.delegated};
}

}  // namespace

Found Find(const Generation& generation, const Query& query) {
  const Image& image = *generation.image;
  if (const Node* node = Probe(image, query.hash, query.name.data(), query.name_size)) {
    return AtNode(generation, *node, query.type);
  }
  // The name is not there: look for the longest ancestor that is.
  size_t labels = 0;
  for (size_t i = 0; query.name[i] != 0; i += query.name[i] + 1u) ++labels;
  size_t at = 0;
  while (query.name[at] != 0) {
    at += query.name[at] + 1u;
    if (--labels > image.labels_max) continue;
    const uint8_t* suffix = query.name.data() + at;
    size_t size = query.name_size - at;
    const Node* node = Probe(image, HashName(suffix, size), suffix, size);
    if (node == nullptr) continue;
    if (node->delegated) return AtNode(generation, *node, query.type);
    if (node->wildcard != kNoRef) {
      return AtNode(generation, image.nodes[node->wildcard], query.type);
    }
    const ImageZone& zone = image.zones[node->zone];
    return {&generation.At(zone.absent), &zone, false};
  }
  return {};
}

const Node* FindNode(const Image& image, const Name& name) {
  ByteView wire = name.wire();
  return Probe(image, HashName(wire), wire.data(), wire.size());
}

}  // namespace dns
