// Reads the messages of a transfer that a primary sends (RFC 5936, RFC 1995): a whole zone, the
// differences to the one that we have, or that we have it all already.
//
// Pure: messages come in one after the other, without their sizes and with their TSIG checked. What
// comes out is a zone without mistakes, or an error in words for an operator. Bounded: messages and
// names as wire/message.h reads them; all that is kept costs at most `size_max` bytes of memory, as
// estimated by kRecordCost. Names in the data of the old types are decompressed and put in lower
// case; the data of types that answers look into is checked. The records are the network's: nothing
// here, nor behind it, hands them to ldns.
//
// A zone that its primary has signed is refused, for want of its NSEC chain: answers of ours deny
// in their own way (RFC 9824), which needs a key. One thread, any.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "dns/wire/message.h"
#include "dns/zone/zone.h"

namespace dns {

// What a record costs in memory beside its own bytes, roughly.
constexpr size_t kRecordCost = 200;

class TransferReader {
 public:
  // `known`: what an IXFR was asked with, else null: then a whole zone is due.
  TransferReader(Name apex, uint16_t id, std::shared_ptr<const Zone> known, size_t size_max);

  enum class Step { kMore, kDone };
  // The next message. After an error, or kDone, none is taken.
  std::expected<Step, std::string> Take(ByteView message);

  // After kDone.
  bool up_to_date() const { return up_to_date_; }
  bool incremental() const { return incremental_; }
  // The zone; null when it is up to date. The error names its mistakes.
  std::expected<std::shared_ptr<const Zone>, std::string> Finish();

  // Of the last message; what it says when it is an error.
  Rcode rcode() const { return rcode_; }

 private:
  enum class State { kFirst, kSecond, kWhole, kRemoving, kAdding, kDone };
  using Result = std::expected<void, std::string>;

  Result CheckHeader(ByteView message, size_t& at, size_t& records);
  Result TakeRecord(Record record);
  Result TakeSoa(Record record);
  Result BeginDifferences(uint32_t from);
  Result Add(Record record);
  Result Remove(const Record& record);
  Result Charge(const Record& record);

  Name apex_;
  uint16_t id_;
  std::shared_ptr<const Zone> known_;
  size_t size_max_;
  size_t cost_ = 0;
  State state_ = State::kFirst;
  Rcode rcode_ = Rcode::kNoError;
  std::optional<Record> soa_;  // the one that frames it all
  std::shared_ptr<Zone> zone_;
  std::optional<RecordAdder> adder_;
  uint32_t at_serial_ = 0;  // what the differences have led to
  bool up_to_date_ = false;
  bool incremental_ = false;
};

// The data of a record in a message, as zones hold it: uncompressed, the names of the types of RFC
// 4034 §6.2 in lower case. The error says what is wrong.
std::expected<Bytes, std::string> ReadRdata(ByteView message, const MessageRecord& record);

}  // namespace dns
