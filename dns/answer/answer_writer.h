// Turns plans into the bytes of answers, signing what has to be signed. One thread at a time.
#pragma once

#include "dns/answer/answer.h"
#include "dns/answer/form_writer.h"
#include "dns/answer/plan.h"
#include "dns/answer/random.h"
#include "dns/answer/zone_context.h"

namespace dns {

// Signed subsets that are kept ready where a set has more members than an answer may hold.
constexpr size_t kVariants = 32;

class AnswerWriter {
 public:
  AnswerWriter(const ZoneContext& zone, SignatureStore& signatures, Random& random)
      : zone_(zone), signatures_(signatures), random_(random) {}

  Answer Write(const Plan& plan);
  // The answer for names below the DNAME at `owner`.
  Answer WriteDname(const Name& owner, const Rrset& dname);
  // A zone's SOA and keys as they are now.
  ZoneState WriteState();

 private:
  Form WriteForm(const Plan& plan, bool sign);
  void AddSet(const FormWriter& writer, Section& out, const Rrset& set, bool sign);
  void AddChoice(const FormWriter& writer, const Rrset& set, ByteView rdata, uint32_t weight,
                 Form& form);
  void AddExtras(const FormWriter& writer, const Name& host, bool sign, Form& form);
  void WritePoolSet(const FormWriter& writer, const Plan& plan, const PoolSet& pool_set, bool sign,
                    Form& form);
  void WriteShuffled(const FormWriter& writer, const Plan& plan, const Rrset& set, bool sign,
                     Form& form);
  void FinishChoices(const FormWriter& writer, const Plan& plan, const Rrset& set, bool sign,
                     Form& form);
  void DrawVariants(const FormWriter& writer, const Plan& plan, const Rrset& set, Form& form);
  // The RRSIG set of `set`, a record a key.
  Rrset Signatures(const Rrset& set);

  const ZoneContext& zone_;
  SignatureStore& signatures_;
  Random& random_;
};

// Are the set's records an answer by themselves? Their data must hold no name that would be
// compressed, or that has addresses to go along.
bool IsSimple(const Rrset& set);
// Appends a SimpleSet to `out`, aligned, and returns its offset.
uint32_t AppendSimple(const Rrset& set, Bytes& out);

}  // namespace dns
