// Puts names and their answers into an Image: the mechanics below compile.h. One thread; the image
// is handed over by Finish().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/answer/answer_writer.h"
#include "dns/answer/random.h"
#include "dns/answer/zone_context.h"

namespace dns {

// An answer that is made anew when what it depends on changes.
struct DynamicSpec {
  enum class What : uint8_t { kType, kOther, kAny, kOwnNsec };
  size_t zone = 0;
  Name name;
  What what = What::kType;
  Type type = Type::kA;
  uint64_t pools = 0;  // bit i for pool i
  bool soa = false;    // holds the zone's SOA
};
// Plans and writes one.
Answer MakeAnswer(const ZoneContext& zone, const DynamicSpec& spec, SignatureStore& signatures,
                  Random& random, uint64_t* pools, bool* uses_soa);

class ImageBuilder {
 public:
  // `dynamic` takes answers that change: it returns their index. Null (for overlays): all answers
  // are the image's, since it is made anew itself.
  using AddDynamic = std::function<uint32_t(DynamicSpec, Answer)>;
  ImageBuilder(SignatureStore& signatures, Random& random, AddDynamic dynamic)
      : image_(std::make_shared<Image>()),
        signatures_(signatures),
        random_(random),
        dynamic_(std::move(dynamic)) {}

  // A whole zone, the next of the image's. `children`: the apexes below it that are served, too:
  // what is below them is theirs.
  void AddZone(const ZoneContext& zone, const std::vector<Name>& children);
  // One name of zone `index`, as the zone has it now.
  void AddName(const ZoneContext& zone, size_t index, const Name& name) {
    AddName(zone, index, name, zone.SetsAt(name));
  }
  // Of an overlay: a name that is in `base` with a wildcard below it.
  void KeepWildcard(const Image& base, const Name& name);

  std::shared_ptr<const Image> Finish();

 private:
  uint32_t AddAnswer(Answer answer);
  uint32_t Make(const ZoneContext& zone, DynamicSpec spec);
  void AddEntry(Node& node, Type type, uint32_t answer);
  void AddNode(const Name& name, const Node& node);
  // `sets`: those at the name, so that a whole zone is read without looking for each; may be null.
  void AddName(const ZoneContext& zone, size_t index, const Name& name, const SetMap* sets);
  void AddTypes(const ZoneContext& zone, size_t index, const Name& name, const SetMap* sets,
                Node& node);
  void AddCut(const ZoneContext& zone, size_t index, const Name& cut,
              const std::vector<Name>& children);
  void AddDname(const ZoneContext& zone, const Name& name, const SetMap* sets, Node& node);
  void AddUnavailable(const ZoneContext& zone, size_t index);
  uint32_t NoData(const ZoneContext& zone, size_t index);

  std::shared_ptr<Image> image_;
  SignatureStore& signatures_;
  Random& random_;
  AddDynamic dynamic_;
  std::vector<uint32_t> nodata_;     // a zone: the shared answer, in unsigned ones
  std::vector<uint32_t> wildcards_;  // nodes
  std::vector<std::pair<Name, uint32_t>>
      ds_of_;  // cuts that are apexes of zones here, and DS there
};

}  // namespace dns
